//! How a customer proves who they are: user name, password, PIN; and what three wrong ones do.
//!
//! Must not know: HTTP, money, which door asks.

use crate::bank::entry::BankError;
use crate::bank::random::Random;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Wrong ones in a row that lock.
const WRONG_MAX: u8 = 3;

/// What a customer types, and where codes are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Nobody else has it.
    pub user: String,
    /// For the portal, the statements, and the page where signed consents are decided.
    pub password: String,
    /// For dialogues.
    pub pin: String,
    /// One-time codes go there.
    pub phone: String,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Wrong,
    Locked,
}

#[derive(Debug)]
struct Known {
    login: Login,
    wrong_passwords: u8,
    wrong_pins: u8,
}

#[derive(Debug)]
pub(in crate::bank) struct Logins {
    known: HashMap<String, Known>,
    /// The customer who has a user name.
    users: HashMap<String, String>,
    random: Random,
}

/// Counts a try; the counter goes back to zero with the right one, unless it has reached its end.
fn judge(wrong: &mut u8, right: bool) -> Result<(), Refused> {
    if *wrong >= WRONG_MAX {
        return Err(Refused::Locked);
    }
    *wrong = if right { 0 } else { *wrong + 1 };
    match *wrong {
        0 => Ok(()),
        WRONG_MAX => Err(Refused::Locked),
        _ => Err(Refused::Wrong),
    }
}

impl Logins {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random::new(seed ^ 0x6c6f_6769_6e73);
        Self { known: HashMap::new(), users: HashMap::new(), random }
    }

    /// A new customer gets a login.
    pub(in crate::bank) fn add(&mut self, customer: &str) {
        let number = self.known.len() + 1;
        let login = Login {
            user: format!("user{number:06}"),
            password: self.random.token("").chars().take(20).collect(),
            pin: self.random.between(100_000, 999_999).to_string(),
            // Numbers that Ofcom keeps free for films.
            phone: format!("+44 7700 900{:03}", self.random.between(0, 999)),
        };
        self.users.insert(login.user.clone(), customer.to_owned());
        self.known.insert(customer.to_owned(), Known { login, wrong_passwords: 0, wrong_pins: 0 });
    }

    fn known(&self, customer: &str) -> Result<&Known, BankError> {
        self.known.get(customer).ok_or_else(|| BankError::Unknown("customer", customer.to_owned()))
    }

    fn known_mut(&mut self, customer: &str) -> Result<&mut Known, BankError> {
        self.known.get_mut(customer).ok_or_else(|| BankError::Unknown("customer", customer.to_owned()))
    }

    pub(super) fn of(&self, customer: &str) -> Result<Login, BankError> {
        Ok(self.known(customer)?.login.clone())
    }

    pub(super) fn set(&mut self, customer: &str, login: Login) -> Result<(), BankError> {
        let old = self.of(customer)?;
        if self.users.get(&login.user).is_some_and(|holder| holder != customer) {
            return Err(BankError::UserTaken(login.user));
        }
        self.users.remove(&old.user);
        self.users.insert(login.user.clone(), customer.to_owned());
        self.known_mut(customer)?.login = login;
        Ok(())
    }

    pub(super) fn unlock(&mut self, customer: &str) -> Result<(), BankError> {
        let known = self.known_mut(customer)?;
        (known.wrong_passwords, known.wrong_pins) = (0, 0);
        Ok(())
    }

    pub(super) fn locked(&self, customer: &str) -> Result<bool, BankError> {
        let known = self.known(customer)?;
        Ok(known.wrong_passwords.max(known.wrong_pins) >= WRONG_MAX)
    }

    fn by_user(&mut self, user: &str) -> Result<(String, &mut Known), Refused> {
        let customer = self.users.get(user).cloned().ok_or(Refused::Wrong)?;
        let known = self.known.get_mut(&customer).ok_or(Refused::Wrong)?;
        Ok((customer, known))
    }

    /// The customer with this user name and password.
    pub(super) fn with_password(&mut self, user: &str, password: &str) -> Result<String, Refused> {
        let (customer, known) = self.by_user(user)?;
        judge(&mut known.wrong_passwords, known.login.password == password)?;
        Ok(customer)
    }

    /// The customer with this user name and PIN.
    pub(super) fn with_pin(&mut self, user: &str, pin: &str) -> Result<String, Refused> {
        let (customer, known) = self.by_user(user)?;
        judge(&mut known.wrong_pins, known.login.pin == pin)?;
        Ok(customer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_third_wrong_password_in_a_row_locks_and_a_right_one_before_that_does_not_count() {
        let mut logins = Logins::new(1);
        logins.add("ada");
        let Login { user, password, pin, .. } = logins.of("ada").unwrap();
        assert_eq!(logins.with_password(&user, "no"), Err(Refused::Wrong));
        assert_eq!(logins.with_password(&user, "no"), Err(Refused::Wrong));
        assert_eq!(logins.with_password(&user, &password), Ok("ada".to_owned()));
        for expected in [Refused::Wrong, Refused::Wrong, Refused::Locked, Refused::Locked] {
            assert_eq!(logins.with_password(&user, "no"), Err(expected));
        }
        assert_eq!(logins.with_password(&user, &password), Err(Refused::Locked));
        assert_eq!(logins.with_pin(&user, &pin), Ok("ada".to_owned()), "the PIN has a counter of its own");
        assert!(logins.locked("ada").unwrap());
        logins.unlock("ada").unwrap();
        assert_eq!(logins.with_password(&user, &password), Ok("ada".to_owned()));
        assert_eq!(logins.with_password("nobody", "no"), Err(Refused::Wrong));
    }

    #[test]
    fn a_user_name_is_one_customers_alone() {
        let mut logins = Logins::new(1);
        ["ada", "grace"].iter().for_each(|customer| logins.add(customer));
        let (ada, grace) = (logins.of("ada").unwrap(), logins.of("grace").unwrap());
        let taken = Login { user: ada.user.clone(), ..grace.clone() };
        assert_eq!(logins.set("grace", taken), Err(BankError::UserTaken(ada.user.clone())));
        logins.set("grace", Login { user: "gh".into(), ..grace.clone() }).unwrap();
        assert_eq!(logins.with_password(&grace.user, &grace.password), Err(Refused::Wrong));
        assert_eq!(logins.with_password("gh", &grace.password), Ok("grace".to_owned()));
    }
}

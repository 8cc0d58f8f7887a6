//! The dialogue through its front door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::bank::tests::Desk;
use crate::bank::{BankConfig, Login, NewEntry, RowStatus};
use crate::http::Api;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use std::time::Duration;

/// The customer's program: writes and reads segments in its own way.
struct Program {
    api: Api,
    dialogue: String,
    number: u32,
}

/// Segments of an answer: names and elements.
type Said = Vec<Vec<String>>;

fn escape(text: &str) -> String {
    ["?", "+", ":", "'", "@"]
        .iter()
        .fold(text.to_owned(), |text, sign| text.replace(sign, &format!("?{sign}")))
}

impl Program {
    fn at(desk: &Desk) -> Self {
        Self { api: Api::new(desk.bank.auth_origin(), None).unwrap(), dialogue: "0".into(), number: 1 }
    }

    async fn post(&self, path: &str, body: String) -> Said {
        let answer = self.api.send_raw(Method::POST, path, &[], body.into_bytes()).await.unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain"));
        let text = STANDARD.decode(answer.body.as_str().unwrap()).unwrap();
        let said = read(std::str::from_utf8(&text).unwrap());
        assert_eq!((said[0][0].as_str(), said[0][1].parse()), ("HDR", Ok(text.len())));
        said
    }

    /// Sends this text behind a header with the right length.
    async fn say(&mut self, path: &str, text: &str) -> Said {
        let tail = format!("+{}+{}'{text}", self.dialogue, self.number);
        let message = format!("HDR+{:012}{tail}", 16 + tail.len());
        let said = self.post(&format!("/dialogue/{path}"), STANDARD.encode(message)).await;
        if said[0][2] != "0" {
            self.dialogue.clone_from(&said[0][2]);
        }
        self.number += 1;
        said[1..].to_vec()
    }

    async fn open(&mut self, login: &Login, system: &str) -> Said {
        (self.dialogue, self.number) = ("0".into(), 1);
        let text = format!("LOG+{}+{}+{system}'", escape(&login.user), escape(&login.pin));
        self.say("open", &text).await
    }

    /// Opens a dialogue with the code that was sent; the system id.
    async fn enter(&mut self, desk: &Desk, login: &Login) -> String {
        let said = self.open(login, "0").await;
        let code = desk.bank.last_otp(&desk.customer.id).unwrap();
        let said = self.say("confirm", &format!("OTP+{}+{code}'", said[2][1])).await;
        assert_eq!((&said[0], said[1][0].as_str()), (&ok(), "SYS"));
        said[1][1].clone()
    }
}

fn read(text: &str) -> Said {
    let (mut segments, mut segment, mut element) = (Vec::new(), Vec::new(), String::new());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '?' => element.push(letters.next().unwrap()),
            '+' => segment.push(std::mem::take(&mut element)),
            '\'' => {
                segment.push(std::mem::take(&mut element));
                segments.push(std::mem::take(&mut segment));
            }
            other => element.push(other),
        }
    }
    assert!(segment.is_empty() && element.is_empty());
    segments
}

fn ok() -> Vec<String> {
    ["RET", "0010", "ok"].map(str::to_owned).to_vec()
}

fn code(said: &Said) -> &str {
    let ret = said.iter().find(|segment| segment[0] == "RET").unwrap();
    &ret[1]
}

async fn desk(page_rows: usize) -> (Desk, Login) {
    let desk = Desk::open(BankConfig { page_rows, ..BankConfig::default() }).await;
    let pin = "12'4?+5@".to_owned();
    let login = Login { pin, ..desk.bank.login(&desk.customer.id).unwrap() };
    desk.bank.set_login(&desk.customer.id, login.clone()).unwrap();
    (desk, login)
}

#[tokio::test]
async fn an_unknown_system_is_asked_for_a_code_and_a_known_one_is_not_for_ninety_days() {
    let (desk, login) = desk(25).await;
    let mut program = Program::at(&desk);
    let said = program.open(&login, "0").await;
    assert_eq!((said[0][0].as_str(), &said[0][1]), ("DLG", &program.dialogue));
    assert_eq!(said[1], ["RET", "3060", "Please confirm"]);
    assert!(
        said[2][0] == "TAN" && said[2][2].ends_with(&format!("{}.", &login.phone[login.phone.len() - 2..]))
    );
    assert_eq!(code(&program.say("message", "ACC'").await), "9800", "not confirmed yet");

    let system = program.enter(&desk, &login).await;
    desk.bank.advance(Duration::from_secs(90 * 86_400 - 1));
    let said = program.open(&login, &system).await;
    assert_eq!((said.len(), &said[1]), (2, &ok()));
    assert_eq!(code(&program.say("message", "ACC'").await), "0010");
    desk.bank.advance(Duration::from_secs(1));
    let said = program.open(&login, &system).await;
    assert_eq!(code(&said), "3060");
    let otp = desk.bank.last_otp(&desk.customer.id).unwrap();
    let said = program.say("confirm", &format!("OTP+{}+{otp}'", said[2][1])).await;
    assert_eq!(said[1][1], system, "the same system, confirmed again");
    assert_eq!(code(&program.open(&login, &system).await), "0010");

    let eve = desk.bank.create_customer(&crate::bank::NewCustomer::with_two_accounts("Eve", 0)).unwrap();
    let eve = desk.bank.login(&eve.id).unwrap();
    assert_eq!(code(&program.open(&eve, &system).await), "3060", "somebody else's system");
}

#[tokio::test]
async fn a_code_is_good_for_five_minutes_and_three_wrong_ones_end_the_dialogue() {
    let (desk, login) = desk(25).await;
    let mut program = Program::at(&desk);
    let reference = program.open(&login, "0").await[2][1].clone();
    let otp = desk.bank.last_otp(&desk.customer.id).unwrap();
    let wrong = format!("{:06}", (otp.parse::<u32>().unwrap() + 1) % 1_000_000);
    assert_eq!(code(&program.say("confirm", &format!("OTP+{reference}+{wrong}'")).await), "9941");
    assert_eq!(code(&program.say("confirm", &format!("OTP+t-other+{otp}'")).await), "9941");
    assert_eq!(code(&program.say("confirm", &format!("OTP+{reference}+{wrong}'")).await), "9800");
    assert_eq!(code(&program.say("confirm", &format!("OTP+{reference}+{otp}'")).await), "9800");

    for (seconds, expected) in [(300, "0010"), (301, "9951")] {
        let reference = program.open(&login, "0").await[2][1].clone();
        let otp = desk.bank.last_otp(&desk.customer.id).unwrap();
        desk.bank.advance(Duration::from_secs(seconds));
        assert_eq!(code(&program.say("confirm", &format!("OTP+{reference}+{otp}'")).await), expected);
        let after = program.say("confirm", &format!("OTP+{reference}+{otp}'")).await;
        assert_eq!(code(&after), "9800", "nothing waits for a code any more");
    }
}

#[tokio::test]
async fn three_wrong_pins_in_a_row_lock() {
    let (desk, login) = desk(25).await;
    let mut program = Program::at(&desk);
    let bad = Login { pin: "0".into(), ..login.clone() };
    for expected in ["9340", "9340", "9930"] {
        assert_eq!(code(&program.open(&bad, "0").await), expected);
    }
    assert_eq!(program.open(&login, "0").await, [["RET", "9930", "locked"]]);
    assert_eq!(code(&program.open(&Login { user: "nobody".into(), ..bad }, "0").await), "9340");
    desk.bank.unlock(&desk.customer.id).unwrap();
    assert_eq!(code(&program.open(&login, "0").await), "3060");
}

#[tokio::test]
async fn accounts_balances_and_booked_rows_are_what_the_books_say_page_by_page() {
    let (desk, login) = desk(7).await;
    let account = desk.account().to_owned();
    desk.bank.book(&account, NewEntry::card("-1234.50", "A+B: 'C'? @D", "Čapek & Co")).unwrap();
    desk.bank.book_twins(&account, &NewEntry::card("-3.20", "COFFEE", "Blue Door")).unwrap();
    desk.bank.authorise(&account, NewEntry::transfer("-4.10", "LUNCH")).unwrap();
    let mut program = Program::at(&desk);
    program.enter(&desk, &login).await;
    let accounts = program.say("message", "ACC'").await;
    assert_eq!((accounts.len(), &accounts[1][1]), (3, &account));
    assert_eq!(accounts[1][3..], ["Everyday", "Ada Lovelace", "GBP"]);
    assert!(accounts[1][2].starts_with("GB") && accounts[1][2].len() == 22);

    let statement = desk.bank.statement(&account).unwrap();
    let amount = |sign: &str, amount: &str| {
        format!("{}{}", if sign == "D" { "-" } else { "" }, amount.replace(',', "."))
    };
    let balance = &program.say("message", &format!("BAL+{account}'")).await[1];
    assert_eq!(amount(&balance[2], &balance[3]), statement.booked);
    assert_eq!(balance[4..], ["GBP", "20260320", "120000"]);

    for (from, to) in [("20251201", "20260320"), ("20260220", "20260303")] {
        let (mut rows, mut touch_down) = (Vec::new(), Some(String::new()));
        while let Some(place) = touch_down {
            let said = program.say("message", &format!("TRN+{account}+{from}+{to}+{place}'")).await;
            assert!(said.len() <= 8);
            touch_down = (said[0][1] == "3040").then(|| said[0][2].clone());
            rows.extend(said[1..].to_vec());
        }
        let day = |text: &str| chrono::NaiveDate::parse_from_str(text, "%Y%m%d").unwrap();
        let wanted = statement.rows.iter().filter(|row| row.status == RowStatus::Booked);
        let wanted: Vec<_> = wanted
            .filter(|row| (day(from)..=day(to)).contains(&row.booked_on))
            .map(|row| {
                let amount = row.amount.clone();
                let other = row.merchant.clone().unwrap_or_default();
                (row.booked_on, row.valued_on.unwrap(), amount, row.text.clone(), other)
            })
            .collect();
        let read = rows.iter().map(|row| {
            assert_eq!((row[0].as_str(), row[5].as_str()), ("ROW", "GBP"));
            (day(&row[1]), day(&row[2]), amount(&row[3], &row[4]), row[6].clone(), row[7].clone())
        });
        assert_eq!(read.collect::<Vec<_>>(), wanted);
        assert!(wanted.len() > 7);
    }
    assert_eq!(code(&program.say("message", "BAL+12345678'").await), "9210");
    for bad in ["TRN+{}+2026-03-01+20260320+'", "TRN+{}+20260301+20260320+x'", "PAY+{}'", "ACC'ACC'"] {
        let said = program.say("message", &bad.replace("{}", &account)).await;
        assert_eq!(code(&said), "9110", "{bad}");
    }
    assert_eq!(code(&program.say("message", "ACC'").await), "0010", "the dialogue goes on");
    assert_eq!(program.say("end", "END'").await, [ok()]);
    assert_eq!(code(&program.say("message", "ACC'").await), "9800");
}

#[tokio::test]
async fn a_message_out_of_turn_or_too_late_ends_the_dialogue() {
    let (desk, login) = desk(25).await;
    let mut program = Program::at(&desk);
    for skip in [0, 2] {
        program.enter(&desk, &login).await;
        let right = program.number;
        program.number = right - 1 + skip;
        assert_eq!(program.say("message", "ACC'").await, [["RET", "9800", "dialogue ended"]], "{skip}");
        program.number = right;
        assert_eq!(code(&program.say("message", "ACC'").await), "9800");
    }
    program.enter(&desk, &login).await;
    desk.bank.advance(Duration::from_secs(599));
    assert_eq!(code(&program.say("message", "ACC'").await), "0010");
    desk.bank.advance(Duration::from_secs(600));
    assert_eq!(code(&program.say("message", "ACC'").await), "9800");
}

#[tokio::test]
async fn what_is_not_understood_changes_nothing() {
    let (desk, login) = desk(25).await;
    let mut program = Program::at(&desk);
    program.enter(&desk, &login).await;
    let (dialogue, number) = (program.dialogue.clone(), program.number);
    let tail = format!("+{dialogue}+{number}'ACC'");
    let right = format!("HDR+{:012}{tail}", 16 + tail.len());
    for bad in [
        "no base64!".to_owned(),
        STANDARD.encode(format!("HDR+{:012}{tail}", 17 + tail.len())),
        STANDARD.encode(format!("HDR+{:012}+{dialogue}+{number}'A?C'", 16 + tail.len())),
    ] {
        let said = program.post("/dialogue/message", bad).await;
        assert_eq!(said[1], ["RET", "9110", "message not understood"]);
    }
    assert_eq!(program.post("/dialogue/message", STANDARD.encode(right)).await[1], ok());
}

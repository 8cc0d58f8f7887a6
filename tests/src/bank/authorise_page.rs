//! The pages that the customer sees while being asked. Plain HTML, no JavaScript.
//!
//! Must not know: what comes of a form.

use super::access::Customer;
use super::books::Account;
use super::consent::Consent;

/// What a browser may load for these pages: nothing. No `form-action`: browsers hold it against the
/// redirect that follows the form, too.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            plain => safe.push(plain),
        }
    }
    safe
}

fn page(title: &str, content: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} - Demo Bank</title>\
         <style>body{{font:1rem/1.5 sans-serif;max-width:32rem;margin:2rem auto;padding:0 1rem}}\
         label{{display:block;margin:.5rem 0}}</style></head>\n\
         <body><main>\n<h1>{title}</h1>\n{content}</main></body>\n</html>\n"
    )
}

/// Wraps fields into a form that carries the page's id.
fn form(action: &str, id: &str, fields: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\">\n\
         <input type=\"hidden\" name=\"authorisation\" value=\"{}\">\n{fields}</form>\n",
        escaped(id)
    )
}

fn alert(fault: Option<&str>) -> String {
    fault.map_or_else(String::new, |fault| format!("<p role=\"alert\">{}</p>\n", escaped(fault)))
}

pub(super) fn error(sentence: &str) -> String {
    page("This did not work", &alert(Some(sentence)))
}

pub(super) fn login(id: &str, client: &str, again: bool) -> String {
    let fault = again.then_some("The customer number or the passcode is wrong.");
    let fields = "<label>Customer number <input name=\"customer\" autocomplete=\"username\" required></label>\n\
         <label>Passcode <input name=\"passcode\" type=\"password\" autocomplete=\"current-password\" required></label>\n\
         <button>Log in</button>\n";
    let content = format!(
        "{}<p>{} asks to see your accounts. Log in to decide.</p>\n{}",
        alert(fault),
        escaped(client),
        form("/authorize/login", id, fields)
    );
    page("Log in", &content)
}

pub(super) fn accounts(
    id: &str,
    customer: &Customer,
    consent: &Consent,
    accounts: &[&Account],
    fault: Option<&str>,
) -> String {
    let asked: String =
        consent.terms.permissions.iter().map(|one| format!("<li>{}</li>\n", escaped(one))).collect();
    let end = consent.terms.expires_at.map_or_else(
        || "until you take it back".to_owned(),
        |end| format!("until {}", end.format("%-d %B %Y, %H:%M UTC")),
    );
    let boxes: String = accounts
        .iter()
        .map(|account| {
            format!(
                "<label><input type=\"checkbox\" name=\"account\" value=\"{}\" checked> {} {} ({})</label>\n",
                escaped(&account.id),
                escaped(&account.nickname),
                escaped(&account.number),
                escaped(&account.currency)
            )
        })
        .collect();
    let fields = format!(
        "<fieldset><legend>Accounts to share</legend>\n{boxes}</fieldset>\n\
         <button name=\"decision\" value=\"allow\">Allow</button>\n\
         <button name=\"decision\" value=\"deny\">Refuse</button>\n"
    );
    let content = format!(
        "{}<p>{}, {} asks for the following, {end}:</p>\n<ul>\n{asked}</ul>\n{}",
        alert(fault),
        escaped(&customer.name),
        escaped(&consent.client),
        form("/authorize/decide", id, &fields)
    );
    page("Share your accounts?", &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_leave_its_place() {
        let page = login("auth_\"><script>", "<script>alert('x')</script>", false);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{page}");
    }
}

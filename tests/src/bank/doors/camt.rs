//! The XML of camt.053.001.08 (ISO 20022). What stands in it is said in the header of `statements`; the
//! order of elements is the schema's.
//!
//! Must not know: what was stated before, who asks.

use super::iban::iban;
use super::statements::{AccountStatement, File, Line};
use crate::bank::books::Account;
use crate::bank::entry::EntryKind;
use crate::bank::money;
use crate::bank::transaction_rows::Tweak;
use chrono::{DateTime, NaiveDate, Utc};
use std::fmt::Write;

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08";
/// `Max140Text`.
const USTRD_CHARS_MAX: usize = 140;
/// One row in so many has no `NtryRef`.
const ROWS_PER_MISSING_REF: u64 = 5;
const NOT_PROVIDED: &str = "NOTPROVIDED";

fn escape(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            // XML 1.0 has no way to write these.
            control if control.is_control() && !matches!(control, '\t' | '\n') => written.push('?'),
            plain => written.push(plain),
        }
    }
    written
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// All accounts, for those who have no statement yet.
pub(super) fn accounts(accounts: &[&Account]) -> String {
    let lines: String = accounts.iter().map(|known| account(known)).collect();
    format!("{DECLARATION}<Accounts>\n{lines}</Accounts>\n")
}

fn account(account: &Account) -> String {
    format!(
        "<Acct><Id><IBAN>{}</IBAN></Id><Tp><Cd>{}</Cd></Tp><Ccy>{}</Ccy><Nm>{}</Nm><Ownr><Nm>{}</Nm></Ownr>\
         <Svcr><FinInstnId><BICFI>DEMOGB2LXXX</BICFI></FinInstnId></Svcr></Acct>\n",
        iban(&account.number),
        if account.savings { "SVGS" } else { "CACC" },
        account.currency,
        escape(&account.nickname),
        escape(&account.owner),
    )
}

/// The whole document, the first row changed as a fault wants it.
pub(super) fn document(file: &File, tweak: &Tweak) -> String {
    let mut text = format!(
        "{DECLARATION}<Document xmlns=\"{NAMESPACE}\"><BkToCstmrStmt>\n<GrpHdr><MsgId>{}</MsgId>\
         <CreDtTm>{}</CreDtTm></GrpHdr>\n",
        file.id,
        moment(file.created_at)
    );
    // Writing to a text does not fail.
    let (mut tweak, plain) = (tweak, Tweak::default());
    for (place, stated) in file.accounts.iter().enumerate() {
        let _ = statement(&mut text, file, place + 1, stated, tweak);
        if !stated.lines.is_empty() {
            tweak = &plain;
        }
    }
    text.push_str("</BkToCstmrStmt></Document>\n");
    text
}

fn statement(
    text: &mut String,
    file: &File,
    place: usize,
    stated: &AccountStatement,
    tweak: &Tweak,
) -> std::fmt::Result {
    let (first, last) = stated.days;
    writeln!(
        text,
        "<Stmt><Id>{}-{place}</Id><ElctrncSeqNb>{}</ElctrncSeqNb><CreDtTm>{}</CreDtTm>\n\
         <FrToDt><FrDtTm>{first}T00:00:00+00:00</FrDtTm><ToDtTm>{last}T23:59:59+00:00</ToDtTm></FrToDt>",
        file.id,
        stated.sequence,
        moment(file.created_at),
    )?;
    text.push_str(&account(&stated.account));
    let currency = stated.account.currency.as_str();
    balance(text, "OPBD", stated.opening, currency, first)?;
    balance(text, "CLBD", stated.closing, currency, last)?;
    for (place, line) in stated.lines.iter().enumerate() {
        let (tweak, times) = if place == 0 { (Some(tweak), tweak.times.unwrap_or(1)) } else { (None, 1) };
        for _ in 0..times {
            entry(text, place + 1, line, currency, last, tweak)?;
        }
    }
    writeln!(text, "</Stmt>")
}

fn indicator(minor: i64) -> &'static str {
    if minor < 0 { "DBIT" } else { "CRDT" }
}

fn balance(text: &mut String, code: &str, minor: i64, currency: &str, day: NaiveDate) -> std::fmt::Result {
    writeln!(
        text,
        "<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy=\"{currency}\">{}</Amt>\
         <CdtDbtInd>{}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>",
        money::unsigned_text(minor, currency),
        indicator(minor),
    )
}

/// Domain, family, sub-family of ISO 20022's external code set.
fn codes(kind: EntryKind, credit: bool) -> [&'static str; 3] {
    match (kind, credit) {
        (EntryKind::Card, _) => ["PMNT", "CCRD", "POSD"],
        (EntryKind::DirectDebit, _) => ["PMNT", "RDDT", "ESDD"],
        (EntryKind::Salary, _) => ["PMNT", "RCDT", "SALA"],
        (EntryKind::Interest, _) => ["ACMT", "MCOP", "INTR"],
        (EntryKind::Transfer, true) => ["PMNT", "RCDT", "ESCT"],
        (EntryKind::Transfer, false) => ["PMNT", "ICDT", "ESCT"],
    }
}

fn entry(
    text: &mut String,
    place: usize,
    line: &Line,
    currency: &str,
    last: NaiveDate,
    tweak: Option<&Tweak>,
) -> std::fmt::Result {
    let (entry, minor) = (&line.entry, line.minor());
    let (kind, credit) = (entry.kind, entry.minor >= 0);
    let numbered = !entry.serial.is_multiple_of(ROWS_PER_MISSING_REF);
    let numbered = if numbered { format!("<NtryRef>{place}</NtryRef>") } else { String::new() };
    let written = tweak.and_then(|tweak| tweak.amount.as_deref().map(escape));
    let written = written.unwrap_or_else(|| money::unsigned_text(minor, currency));
    let day = entry.booked_at.date_naive();
    let booked = match kind {
        _ if line.reversal => format!("<Dt>{last}</Dt>"),
        EntryKind::Card => format!("<DtTm>{}</DtTm>", moment(entry.booked_at)),
        _ => format!("<Dt>{day}</Dt>"),
    };
    let valued = entry.valued_at.map_or(day, |at| at.date_naive());
    let reference = match kind {
        EntryKind::Interest => NOT_PROVIDED.to_owned(),
        _ if line.reversal => format!("{}-R", entry.id),
        _ => entry.id.clone(),
    };
    let [domain, family, sub_family] = codes(kind, credit);
    writeln!(
        text,
        "<Ntry>{numbered}<Amt Ccy=\"{currency}\">{written}</Amt><CdtDbtInd>{}</CdtDbtInd>{}\
         <Sts><Cd>BOOK</Cd></Sts><BookgDt>{booked}</BookgDt><ValDt><Dt>{valued}</Dt></ValDt>\
         <AcctSvcrRef>{reference}</AcctSvcrRef><BkTxCd><Domn><Cd>{domain}</Cd><Fmly><Cd>{family}</Cd>\
         <SubFmlyCd>{sub_family}</SubFmlyCd></Fmly></Domn></BkTxCd><NtryDtls><TxDtls>{}{}\
         <RmtInf>{}</RmtInf></TxDtls></NtryDtls></Ntry>",
        indicator(minor),
        if line.reversal { "<RvslInd>true</RvslInd>" } else { "" },
        references(line),
        parties(line, credit),
        remittance(tweak.and_then(|tweak| tweak.text.as_deref()).unwrap_or(&entry.text)),
    )
}

fn references(line: &Line) -> String {
    let known = matches!(line.entry.kind, EntryKind::DirectDebit | EntryKind::Salary);
    let id = if known { format!("E2E-{:012}", line.entry.serial) } else { NOT_PROVIDED.to_owned() };
    format!("<Refs><EndToEndId>{id}</EndToEndId></Refs>")
}

fn parties(line: &Line, credit: bool) -> String {
    let name = line.entry.merchant.as_deref();
    if name.is_none() && line.entry.kind == EntryKind::Interest {
        return String::new();
    }
    let (role, name) = (if credit { "Dbtr" } else { "Cdtr" }, escape(name.unwrap_or(NOT_PROVIDED)));
    format!("<RltdPties><{role}><Pty><Nm>{name}</Nm></Pty></{role}></RltdPties>")
}

/// The text in pieces that fit, cut at spaces where there are any.
fn remittance(text: &str) -> String {
    let (mut pieces, mut piece) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let length = piece.chars().count() + 1 + word.chars().count();
        if !piece.is_empty() && length > USTRD_CHARS_MAX {
            pieces.push(std::mem::take(&mut piece));
        } else if !piece.is_empty() {
            piece.push(' ');
        }
        for letter in word.chars() {
            if piece.chars().count() == USTRD_CHARS_MAX {
                pieces.push(std::mem::take(&mut piece));
            }
            piece.push(letter);
        }
    }
    pieces.push(piece);
    pieces.iter().map(|piece| format!("<Ustrd>{}</Ustrd>", escape(piece))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_spaces_and_can_be_joined_again() {
        let words: Vec<String> = (0..60).map(|number| format!("w&{number}")).collect();
        let text = words.join(" ");
        let written = remittance(&text);
        let pieces: Vec<&str> =
            written.split("<Ustrd>").skip(1).map(|piece| piece.trim_end_matches("</Ustrd>")).collect();
        let pieces: Vec<String> = pieces.iter().map(|piece| piece.replace("&amp;", "&")).collect();
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.chars().count() <= USTRD_CHARS_MAX));
        assert_eq!(pieces.join(" "), text);
    }
}

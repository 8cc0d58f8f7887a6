//! One `Ntry` of a statement as a row.

use serde_json::{Map, Value};
use tidegate_sdk::xml::Element;
use tidegate_sdk::{Status, Transaction, date, decimal};

/// What banks write where they have nothing to say.
const NOT_PROVIDED: &str = "NOTPROVIDED";

/// A row, and what its id depends on.
pub struct Entry {
    /// Without an id yet.
    pub row: Transaction,
    /// The bank's own reference.
    pub reference: Option<String>,
    /// It takes an earlier row back.
    pub reversal: bool,
}

/// Reads a booked entry; none for one that is only announced. The name is that of the element at fault.
pub fn entry(entry: &Element) -> Result<Option<Entry>, &'static str> {
    // `<Sts><Cd>BOOK</Cd></Sts>`, or `<Sts>BOOK</Sts>` before version 8.
    match entry.text(&["Sts", "Cd"]).or(entry.text(&["Sts"])) {
        Some("BOOK") => {}
        Some("PDNG" | "INFO" | "FUTR") => return Ok(None),
        _ => return Err("Sts"),
    }
    let (amount, currency, debit) = money(entry)?;
    let reversal = entry.text(&["RvslInd"]) == Some("true");
    let details: Vec<&Element> = entry.all("NtryDtls").flat_map(|details| details.all("TxDtls")).collect();
    let said = |path: &[&str]| details.iter().find_map(|details| provided(details.text(path)));
    let booked_on = day(entry, "BookgDt")?.ok_or("BookgDt")?;
    let reference = provided(entry.text(&["AcctSvcrRef"])).or_else(|| said(&["Refs", "AcctSvcrRef"]));
    let text = narration(entry, &details);
    // The parties of a reversal are those of the row it takes back.
    let role = if debit != reversal { "Cdtr" } else { "Dbtr" };
    let party = match details.as_slice() {
        [one] => one.text(&["RltdPties", role, "Pty", "Nm"]).or(one.text(&["RltdPties", role, "Nm"])),
        _ => None, // of several at once, or of none
    };
    let mut more = Map::new();
    let mut keep = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            more.insert(name.to_owned(), Value::String(value));
        }
    };
    keep("AcctSvcrRef", reference.map(str::to_owned));
    keep("EndToEndId", said(&["Refs", "EndToEndId"]).map(str::to_owned));
    keep("MndtId", said(&["Refs", "MndtId"]).map(str::to_owned));
    keep("CdtrRef", said(&["RmtInf", "Strd", "CdtrRefInf", "Ref"]).map(str::to_owned));
    keep("BkTxCd", code(entry));
    keep("RvslInd", reversal.then(|| "true".to_owned()));
    let mut row = Transaction::new(Status::Booked, amount, &currency, &text)
        .on(Some(booked_on), day(entry, "ValDt")?)
        .with(provided(party));
    row.details = Value::Object(more).to_string();
    Ok(Some(Entry { row, reference: reference.map(str::to_owned), reversal }))
}

/// `Amt` with its sign, its currency, and whether it is a debit.
pub fn money(element: &Element) -> Result<(String, String, bool), &'static str> {
    let debit = match element.text(&["CdtDbtInd"]) {
        Some("DBIT") => true,
        Some("CRDT") => false,
        _ => return Err("CdtDbtInd"),
    };
    let amount = element.text(&["Amt"]).and_then(|text| decimal::with_sign(text, debit)).ok_or("Amt")?;
    let currency = element.at(&["Amt"]).and_then(Element::currency).ok_or("Amt.Ccy")?;
    Ok((amount, currency.to_owned(), debit))
}

/// `Dt` or the date of `DtTm`, as written.
fn day(element: &Element, name: &'static str) -> Result<Option<String>, &'static str> {
    let Some(date) = element.at(&[name]) else { return Ok(None) };
    let written = date.text(&["Dt"]).or(date.text(&["DtTm"])).ok_or(name)?;
    date::civil(written).map(|day| Some(day.to_owned())).ok_or(name)
}

fn provided(text: Option<&str>) -> Option<&str> {
    text.filter(|text| *text != NOT_PROVIDED)
}

/// The pieces of the remittance information, else what the bank adds.
fn narration(entry: &Element, details: &[&Element]) -> String {
    let remittances = details.iter().flat_map(|details| details.all("RmtInf"));
    let pieces: Vec<&str> = remittances
        .flat_map(|remittance| remittance.all("Ustrd"))
        .filter_map(|piece| piece.text(&[]))
        .collect();
    match pieces.as_slice() {
        [] => entry.text(&["AddtlNtryInf"]).unwrap_or_default().to_owned(),
        pieces => pieces.join(" "),
    }
}

/// `PMNT/CCRD/POSD`, or the bank's own code.
fn code(entry: &Element) -> Option<String> {
    let domain = |path: &[&str]| entry.text(&[["BkTxCd", "Domn"].as_slice(), path].concat());
    match (domain(&["Cd"]), domain(&["Fmly", "Cd"]), domain(&["Fmly", "SubFmlyCd"])) {
        (Some(domain), Some(family), Some(sub_family)) => Some(format!("{domain}/{family}/{sub_family}")),
        _ => entry.text(&["BkTxCd", "Prtry", "Cd"]).map(str::to_owned),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NTRY: &str = "<Ntry><Amt Ccy='GBP'>3.20</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>\
        <BookgDt><DtTm>2026-03-19T08:14:02+00:00</DtTm></BookgDt><ValDt><Dt>2026-03-20</Dt></ValDt>\
        <AcctSvcrRef>r-1</AcctSvcrRef><NtryDtls><TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs>\
        <RltdPties><Dbtr><Pty><Nm>Me</Nm></Pty></Dbtr><Cdtr><Nm>Blue Door</Nm></Cdtr></RltdPties>\
        <RmtInf><Ustrd>FLAT</Ustrd><Ustrd>WHITE</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>";

    fn read(from: &str, to: &str) -> Result<Option<Entry>, &'static str> {
        let mut found = None;
        tidegate_sdk::xml::elements(&NTRY.replacen(from, to, 1), &[], &["Ntry"], |one| found = Some(one))
            .unwrap();
        entry(&found.unwrap())
    }
    fn row(from: &str, to: &str) -> Transaction {
        read(from, to).unwrap().unwrap().row
    }

    #[test]
    fn an_entry_is_read_in_either_version_of_the_message() {
        let expected = Transaction {
            details: r#"{"AcctSvcrRef":"r-1"}"#.into(),
            ..Transaction::new(Status::Booked, "-3.20".into(), "GBP", "FLAT WHITE")
                .on(Some("2026-03-19".into()), Some("2026-03-20".into()))
                .with(Some("Blue Door"))
        };
        assert_eq!(row("", ""), expected);
        assert_eq!(row("<Cd>BOOK</Cd>", "BOOK"), expected);
        assert_eq!(row("<Nm>Blue Door</Nm>", "<Pty><Nm>Blue Door</Nm></Pty>"), expected);
        assert_eq!(row("DBIT", "CRDT").counterparty.as_deref(), Some("Me"));
        assert_eq!(row("<RmtInf><Ustrd>FLAT</Ustrd><Ustrd>WHITE</Ustrd></RmtInf>", "").text, "");
        assert_eq!(row("Blue Door", "NOTPROVIDED").counterparty, None);
    }

    #[test]
    fn a_reversal_keeps_the_parties_of_what_it_takes_back() {
        let taken_back =
            read("DBIT</CdtDbtInd>", "CRDT</CdtDbtInd><RvslInd>true</RvslInd>").unwrap().unwrap();
        assert!(taken_back.reversal);
        assert_eq!(
            (taken_back.row.amount.as_str(), taken_back.row.counterparty.as_deref()),
            ("3.20", Some("Blue Door"))
        );
        assert!(taken_back.row.details.contains(r#""RvslInd":"true""#));
    }

    #[test]
    fn what_is_only_announced_is_no_row() {
        for status in ["PDNG", "INFO", "FUTR"] {
            assert!(read("BOOK", status).unwrap().is_none());
        }
    }

    #[test]
    fn the_element_at_fault_is_named() {
        let check = |from: &str, to: &str, field: &str| assert_eq!(read(from, to).err(), Some(field), "{to}");
        check("3.20", "1e3", "Amt");
        check("3.20", "-3.20", "Amt");
        check(" Ccy='GBP'", "", "Amt.Ccy");
        check("DBIT", "X", "CdtDbtInd");
        check("BOOK", "X", "Sts");
        check("2026-03-19T", "2026-02-30T", "BookgDt");
        check("<Dt>2026-03-20</Dt>", "<Dt>soon</Dt>", "ValDt");
        check("<BookgDt><DtTm>2026-03-19T08:14:02+00:00</DtTm></BookgDt>", "", "BookgDt");
    }
}

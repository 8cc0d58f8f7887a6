//! `/openapi.json`, and `/docs`: the same document as one page for people, made once, without scripts. `/` leads there.

use super::Api;
use super::problem::Code;
use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use serde_json::Value;
use std::fmt::Write;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a2530}\
h1,h2,h3{line-height:1.2}h2{margin-top:3rem;border-bottom:1px solid #ccd}h3{margin-top:2rem}\
code,pre{font:14px ui-monospace,monospace;background:#f3f5f7}pre{padding:.75rem;overflow:auto}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #e4e8ec}\
.method{font-weight:700}.note{color:#566}a{color:#0b5cad}\
@media(prefers-color-scheme:dark){body{background:#12181e;color:#dde3e8}code,pre{background:#1d252d}a{color:#7db8f0}.note{color:#9ab}}";

/// The two addresses.
pub fn routes(document: &Value) -> Router<Api> {
    let (page, text) = (Bytes::from(page(document)), Bytes::from(document.to_string()));
    let as_json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let as_page = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'")),
    ];
    Router::new()
        .route("/openapi.json", get(move || std::future::ready((as_json, text).into_response())))
        .route("/docs", get(move || std::future::ready((as_page, page).into_response())))
        .route("/", get(to_docs))
        .route("/docs/", get(to_docs))
}

/// For those who know no more than the host.
async fn to_docs() -> Redirect {
    Redirect::permanent("/docs")
}

fn page(document: &Value) -> String {
    let mut html = String::new();
    write_page(&mut html, document).unwrap_or_default(); // writing to a String does not fail
    html
}

fn write_page(html: &mut String, document: &Value) -> std::fmt::Result {
    write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Tidegate API</title><style>{STYLE}</style><h1>Tidegate API</h1><p>{}</p>\
         <p>Send <code>Authorization: Bearer tg_…</code> with every request to <code>/v1</code>; \
         <code>tidegate api-key create</code> makes a key. Bodies are JSON. Amounts are decimal text, times RFC 3339 \
         in UTC, days <code>YYYY-MM-DD</code>. Lists go on with <code>?cursor=</code>. A POST under \
         <code>/v1/connections</code> or <code>/v1/webhook-endpoints</code> takes an <code>Idempotency-Key</code>. \
         For programs: <a href=/openapi.json>openapi.json</a>.</p>\
         <p><a href=#requests>Requests</a> · <a href=#webhooks>Webhooks</a> · <a href=#problems>Problems</a> · \
         <a href=#types>Types</a></p>\
         <h2 id=requests>Requests</h2>",
        text(document.pointer("/info/description"))
    )?;
    for (path, item) in object(document.get("paths")) {
        for method in ["get", "post", "patch", "put", "delete"] {
            if let Some(operation) = item.get(method) {
                write_operation(html, method, path, operation)?;
            }
        }
    }
    html.push_str("<h2 id=webhooks>Webhooks</h2><p>What is POSTed to your endpoints.</p>");
    for (name, item) in object(document.get("webhooks")) {
        write!(html, "<h3 id={0}><code>{0}</code></h3>", escape(name))?;
        write_details(html, item.get("post").unwrap_or(&Value::Null))?;
    }
    html.push_str(
        "<h2 id=problems>Problems</h2><p>Every error is <code>application/problem+json</code> (RFC 9457); its \
         <code>detail</code> says what to do.</p><table><tr><th>code<th>status<th>title",
    );
    for code in Code::ALL {
        let (name, status) = (code.name(), code.status().as_u16());
        write!(html, "<tr id={name}><td><code>{name}</code><td>{status}<td>{}", escape(code.title()))?;
    }
    html.push_str("</table><h2 id=types>Types</h2>");
    for (name, schema) in object(document.pointer("/components/schemas")) {
        write!(html, "<h3 id=type-{0}>{0}</h3><p>{1}</p>", escape(name), text(schema.get("description")))?;
        write_fields(html, schema)?;
    }
    html.push_str("</html>");
    Ok(())
}

fn write_operation(html: &mut String, method: &str, path: &str, operation: &Value) -> std::fmt::Result {
    let (id, method) = (text(operation.get("operationId")), method.to_uppercase());
    write!(html, "<h3 id={id}><span class=method>{method}</span> <code>{}</code></h3>", escape(path))?;
    write_details(html, operation)
}

/// What an operation takes and answers.
fn write_details(html: &mut String, operation: &Value) -> std::fmt::Result {
    let summary = text(operation.get("summary"));
    let end = if summary.ends_with('?') { "" } else { "." };
    write!(html, "<p>{}{end} {}</p>", summary.trim_end_matches('.'), text(operation.get("description")))?;
    let scopes = operation.pointer("/security/0/api_key").and_then(Value::as_array);
    for scope in scopes.into_iter().flatten().filter_map(Value::as_str) {
        write!(html, "<p class=note>Needs the scope <code>{}</code>.</p>", escape(scope))?;
    }
    html.push_str("<table>");
    for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let (place, name) = (text(parameter.get("in")), text(parameter.get("name")));
        let (shape, meaning) = (kind(parameter.get("schema")), says(parameter));
        write!(html, "<tr><td>{place} <code>{name}</code><td>{shape}<td>{meaning}")?;
    }
    if let Some(body) = operation.get("requestBody") {
        let shape = kind(body.pointer("/content/application~1json/schema"));
        write!(html, "<tr><td>body<td>{shape}<td>{}", text(body.get("description")))?;
    }
    for (status, response) in object(operation.get("responses")) {
        let content = object(response.get("content")).next().map(|(_, content)| kind(content.get("schema")));
        let (shape, meaning) = (content.unwrap_or_default(), text(response.get("description")));
        write!(html, "<tr><td>answers {}<td>{shape}<td>{meaning}", escape(status))?;
    }
    html.push_str("</table>");
    Ok(())
}

/// The fields of a type, those of its parts included; or what it is one of.
fn write_fields(html: &mut String, schema: &Value) -> std::fmt::Result {
    let parts = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
    let mut rows = String::new();
    for part in std::iter::once(schema).chain(parts) {
        if part.get("$ref").is_some() {
            write!(rows, "<tr><td>all of<td>{}", kind(Some(part)))?;
        }
        let required: Vec<&str> = part
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, field) in object(part.get("properties")) {
            let note =
                if required.contains(&name.as_str()) { "" } else { " <span class=note>optional</span>" };
            let (shape, meaning) = (kind(Some(field)), says(field));
            write!(rows, "<tr><td><code>{}</code>{note}<td>{shape}<td>{meaning}", escape(name))?;
        }
    }
    match rows.as_str() {
        "" => write!(html, "<p>{}</p>", kind(Some(schema))),
        rows => write!(html, "<table>{rows}</table>"),
    }
}

/// What is said of a field; where it may be null, that stands with what else it may be.
fn says(field: &Value) -> String {
    let choices = field.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let mut said = std::iter::once(field).chain(choices).filter_map(|one| one.get("description"));
    text(said.next())
}

/// A schema in a few words.
fn kind(schema: Option<&Value>) -> String {
    let Some(schema) = schema else {
        return String::new();
    };
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=#type-{0}>{0}</a>", escape(name));
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = schema.get(choice).and_then(Value::as_array) {
            return choices.iter().map(|choice| kind(Some(choice))).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words =
            words.iter().filter_map(Value::as_str).map(|word| format!("<code>{}</code>", escape(word)));
        return words.collect::<Vec<_>>().join(" ");
    }
    if let Some(items) = schema.get("items") {
        return format!("list of {}", kind(Some(items)));
    }
    let types = match schema.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    };
    match schema.get("format").and_then(Value::as_str) {
        Some(format) => format!("{} ({})", escape(&types), escape(format)),
        None => escape(&types),
    }
}

fn object(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn text(value: Option<&Value>) -> String {
    escape(value.and_then(Value::as_str).unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_route_and_every_problem() {
        let document = crate::api::schema::whole(crate::api::document(), "https://tidegate.example");
        let page = page(&document);
        for (method, path) in crate::api::routes() {
            assert!(page.contains(&format!("{method}</span> <code>{path}</code>")), "{method} {path}");
        }
        for code in Code::ALL {
            assert!(page.contains(&format!("<tr id={}>", code.name())));
        }
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    }

    #[test]
    fn markup_in_the_document_is_shown_as_text() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}

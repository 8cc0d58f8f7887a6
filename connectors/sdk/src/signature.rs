//! Digest of a body (RFC 3230) and HTTP signature (draft-cavage-http-signatures-12), said and not computed: the
//! host computes both from the very bytes that leave.

use crate::{Encoded, Encoding, Operation, Part, Request, Signature, date};

/// Who signs: RSA with SHA-256, over `digest`, `x-request-id` and `date`.
#[derive(Debug, Clone, Copy)]
pub struct HttpSignature<'a> {
    /// The declared value with the key's id.
    pub key_id: &'a str,
    /// The declared private key.
    pub key: &'a str,
}

impl HttpSignature<'_> {
    /// The request with its body and the headers `x-request-id`, `date`, `digest` and `signature`. `id` is a
    /// UUID, another one for each request; an empty body has a digest, too.
    pub fn sign(self, request: Request, id: &str, now_ms: u64, body: Vec<Part>) -> Request {
        let base64 = |name: &str| {
            Operation::Encode(Encoded { alphabet: Encoding::Base64, over: vec![Part::value(name)] })
        };
        let now = date::http_date(now_ms).unwrap_or_default();
        let digest = vec![Part::text("SHA-256="), Part::value("digest")];
        let mut over = vec![Part::text("digest: ")];
        over.extend(digest.iter().cloned());
        over.push(Part::text(format!("\nx-request-id: {id}\ndate: {now}")));
        let sign = Signature { algorithm: "RS256".to_owned(), key: self.key.to_owned(), over };
        let signature = vec![
            Part::text("keyId=\""),
            Part::value(self.key_id),
            Part::text("\",algorithm=\"rsa-sha256\",headers=\"digest x-request-id date\",signature=\""),
            Part::value("signature"),
            Part::text("\""),
        ];
        let mut request = request
            .derive("digest-bytes", Operation::Sha256(body.clone()))
            .derive("digest", base64("digest-bytes"))
            .derive("signature-bytes", Operation::Sign(sign))
            .derive("signature", base64("signature-bytes"))
            .header("x-request-id", id)
            .header("date", now)
            .header_parts("digest", digest)
            .header_parts("signature", signature);
        request.body = body;
        request
    }
}

#[cfg(test)]
#[allow(clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// 2026-03-20T12:00:00Z
    const NOW: u64 = 1_774_008_000_000;
    const ID: &str = "99391c7e-ad88-49ec-a2ad-99ddcb1f7721";

    fn signed(body: Vec<Part>) -> Request {
        let signer = HttpSignature { key_id: "key-id", key: "signing-key" };
        signer.sign(Request::post("https://bank.example/x"), ID, NOW, body)
    }
    fn shown(parts: &[Part]) -> String {
        Request { url: parts.to_vec(), ..Request::get("") }.url_text()
    }

    #[test]
    fn a_request_is_signed_over_the_digest_of_its_body() {
        let request = signed(vec![Part::text("{\"a\":1}")]);
        let header = |name: &str| request.header_text(name).unwrap_or_default();
        assert_eq!(header("digest"), "SHA-256={digest}");
        assert_eq!(
            (header("date").as_str(), header("x-request-id").as_str()),
            ("Fri, 20 Mar 2026 12:00:00 GMT", ID)
        );
        assert_eq!(
            header("signature"),
            "keyId=\"{key-id}\",algorithm=\"rsa-sha256\",headers=\"digest x-request-id date\",signature=\"{signature}\""
        );
        let names: Vec<_> = request.derived.iter().map(|derived| derived.name.as_str()).collect();
        assert_eq!(names, ["digest-bytes", "digest", "signature-bytes", "signature"]);
        let Operation::Sha256(body) = &request.derived[0].how else { panic!() };
        assert_eq!((shown(body).as_str(), request.body_text().as_str()), ("{\"a\":1}", "{\"a\":1}"));
        let Operation::Sign(signature) = &request.derived[2].how else { panic!() };
        assert_eq!((signature.algorithm.as_str(), signature.key.as_str()), ("RS256", "signing-key"));
        assert_eq!(
            shown(&signature.over),
            format!("digest: SHA-256={{digest}}\nx-request-id: {ID}\ndate: Fri, 20 Mar 2026 12:00:00 GMT")
        );
    }

    #[test]
    fn an_empty_body_has_a_digest_too() {
        let request = signed(Vec::new());
        let Operation::Sha256(body) = &request.derived[0].how else { panic!() };
        assert!(body.is_empty() && request.body.is_empty());
    }
}

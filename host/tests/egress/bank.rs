//! A bank that says what a test wants, and the world around one call.

use host::clock::{Clock, Deadline};
use host::egress::{Call, CookieJar, Egress, EgressConfig, EgressError, Exchange, Limits};
use host::model::*;
use std::collections::BTreeMap;
use std::marker::{Send, Sync};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// What the bank does with a request.
pub enum Answer {
    /// Says this and closes.
    Say(Vec<u8>),
    /// Says this and leaves the connection open.
    Hang(Vec<u8>),
    /// Says the first, then the second for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// Closes without a word.
    Close,
}

/// A reply with a body.
pub fn ok(headers: &str, body: impl AsRef<[u8]>) -> Answer {
    reply("200 OK", headers, body)
}

/// A reply with a status line. `headers`: lines that end in `\r\n`.
pub fn reply(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Answer::Say([head.as_bytes(), body].concat())
}

pub struct Bank {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    from: Arc<Mutex<Vec<IpAddr>>>,
}

impl Bank {
    /// Answers each request as told; `answer` gets its number, from 0, and its text.
    pub async fn new(answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let from = Arc::new(Mutex::new(Vec::new()));
        let (answer, log, callers) = (Arc::new(answer), seen.clone(), from.clone());
        tokio::spawn(async move {
            while let Ok((socket, caller)) = listener.accept().await {
                callers.lock().unwrap().push(caller.ip());
                tokio::spawn(serve(socket, answer.clone(), log.clone()));
            }
        });
        Self { address, seen, from }
    }

    /// Where connections came from.
    pub fn from(&self) -> Vec<IpAddr> {
        self.from.lock().unwrap().clone()
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

pub async fn serve(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    answer: Arc<impl Fn(usize, &str) -> Answer>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let Some(request) = read_request(&mut socket).await else {
        return;
    };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    match answer(number, &request) {
        Answer::Close => {}
        Answer::Say(bytes) => {
            let _ = socket.write_all(&bytes).await;
            let _ = socket.shutdown().await;
        }
        Answer::Hang(bytes) => {
            let _ = socket.write_all(&bytes).await;
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
        Answer::Endless(head, more) => {
            let _ = socket.write_all(&head).await;
            while socket.write_all(&more).await.is_ok() {}
        }
    }
}

async fn read_request(socket: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        match socket.read(&mut buffer).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
}

const MANIFEST: &str = r#"
name = "bank"
version = "1.0.0"
contract = "0.1.0"
route = [
  { name = "login", method = "POST", origin = "api", path = "/login", purpose = "login", reply = ["expires_in", "scope", "error"] },
  { name = "page", method = "POST", origin = "api", path = "/page", purpose = "login", marks = { refused = "is wrong & locked", maintenance = "come back later" } },
  { name = "wrapped", method = "POST", origin = "api", path = "/wrapped", purpose = "login", reply = ["a.b"], marks = { ok = "\"ok\"" }, reply-encoding = "base64" },
  { name = "authorise", method = "GET", origin = "api", path = "/authorise", purpose = "customer" },
  { name = "dialogue", method = "POST", origin = "api", path = "/dialogue", purpose = "login", reply-encoding = "base64", marks = { wrong = "'RET+9340+", ok = "'RET+0010+" }, texts = { challenge = ["'TAN++", "'"], absent = ["'SYS+", "'"] } },
  { name = "read", method = "GET", origin = "api", path = "/accounts/*", purpose = "read" },
  { name = "write", method = "POST", origin = "api", path = "/accounts/*", purpose = "read" },
]
value = [
  { name = "token", kind = "credential", use = "fill", routes = ["login", "read", "write", "authorise", "wrapped"], optional = true },
  { name = "pin", kind = "credential", use = "fill", routes = ["login"], optional = true },
  { name = "client-id", kind = "registration", use = "fill", routes = ["login", "read", "authorise"], public = true },
]
"#;

pub const TOKEN: &str = "a-long-secret-token";

/// Everything a call needs; change a field before sending.
pub struct World {
    pub egress: Egress,
    pub clock: Clock,
    pub registration: Option<Registration>,
    pub manifest: Manifest,
    pub routes: Vec<Route>,
    pub values: BTreeMap<String, Secret>,
    pub deadline: Deadline,
    pub jar: CookieJar,
    pub repeats: bool,
    pub way: EgressProfile,
    pub origin: String,
}

impl World {
    /// A bank on this address, which is allowed.
    pub fn of(address: SocketAddr) -> Self {
        Self::with(&format!("http://{address}"), &[address], Limits::default(), Clock::system())
    }

    pub fn with(origin: &str, allow: &[SocketAddr], limits: Limits, clock: Clock) -> Self {
        let config = EgressConfig {
            allow: allow.to_vec(),
            bank_timeout: Duration::from_secs(20),
            ..EgressConfig::default()
        };
        let manifest = Manifest::parse(MANIFEST.as_bytes()).unwrap();
        let profile =
            format!("name = \"B\"\ncountry = \"GB\"\nconnector = \"bank\"\n[origins]\napi = \"{origin}\"");
        let routes = resolve_routes(&manifest, &Institution::parse("bank", &profile).unwrap()).unwrap();
        let values = [("token", TOKEN), ("pin", "1234"), ("client-id", "tidegate-client-id-1")];
        Self {
            egress: Egress::with_limits(config, clock.clone(), limits),
            deadline: clock.deadline(Duration::from_secs(1_000_000)),
            clock,
            registration: None,
            manifest,
            routes,
            values: values.map(|(name, value)| (name.to_owned(), Secret::new(value))).into(),
            jar: CookieJar::default(),
            repeats: true,
            way: EgressProfile::default(),
            origin: origin.to_owned(),
        }
    }

    pub async fn send(&mut self, request: &Request) -> Result<Exchange, EgressError> {
        let call = Call {
            institution: "bank",
            registration: self.registration.as_ref(),
            manifest: &self.manifest,
            routes: &self.routes,
            purposes: &[Purpose::Login, Purpose::Read],
            values: &self.values,
            counter: 1,
            repeats: self.repeats,
            way: &self.way,
            requests_per_minute: None,
            deadline: &self.deadline,
        };
        self.egress.send(&call, request, &mut self.jar).await
    }

    /// Where the customer's browser would be sent.
    pub fn browser_url(&self, path: Vec<Part>, derived: Vec<Derived>) -> Result<String, EgressError> {
        let call = Call {
            institution: "bank",
            registration: None,
            manifest: &self.manifest,
            routes: &self.routes,
            purposes: &[],
            values: &self.values,
            counter: 1,
            repeats: true,
            way: &self.way,
            requests_per_minute: None,
            deadline: &self.deadline,
        };
        let mut url = vec![text(&self.origin)];
        url.extend(path);
        self.egress.browser_url(&call, &Redirect { url, derived, returned: vec![] })
    }

    pub fn get(&self) -> Request {
        self.request(Method::Get, "/accounts/1")
    }

    pub fn login(&self) -> Request {
        self.request(Method::Post, "/login")
    }

    pub fn request(&self, method: Method, path: &str) -> Request {
        Request {
            method,
            url: vec![text(&format!("{}{path}", self.origin))],
            headers: Vec::new(),
            body: Vec::new(),
            derived: Vec::new(),
            captures: Vec::new(),
            after_ms: 0,
        }
    }
}

pub fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

pub fn value(name: &str) -> Part {
    Part::Value(name.to_owned())
}

pub fn header(name: &str, value: Vec<Part>) -> Header {
    Header { name: name.to_owned(), value }
}

pub fn capture(place: Place) -> Vec<Capture> {
    vec![Capture { name: "token".to_owned(), place, required: true }]
}

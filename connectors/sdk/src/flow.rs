//! Several requests as straight-line code.
//!
//! A connector is called again for each reply, in a fresh instance. A [`Flow`] hides that: the code
//! runs from its top on every call, [`Flow::ask`] gives what earlier replies came to from memory,
//! reads the newest reply, and stops with [`Stop::Send`] where a reply is still missing.
//!
//! ```
//! # use tidegate_sdk::*;
//! # use serde::Deserialize;
//! fn list(ask: &Context, memory: &str, replies: &[Reply]) -> Result<Vec<Account>, Stop> {
//!     let mut flow = Flow::new(memory, replies)?;
//!     let ids: Vec<String> = flow.ask(Request::get("https://bank.example/list"), |reply| reply.json())?;
//!     let mut accounts = Vec::new();
//!     for id in ids {
//!         let request = Request::get("https://bank.example/account").segment(&id);
//!         let name: String = flow.ask(request, |reply| reply.json())?;
//!         accounts.push(Account { id, name, currency: "EUR".into(), number: None });
//!     }
//!     Ok(accounts)
//! }
//! ```
//!
//! Memory keeps what the closures return, not the replies: keep that small, since memory holds at
//! most 64 KiB. Which requests are asked must depend only on earlier answers and on what stays the
//! same within a sync, never on `now-ms` or `seed`.

use crate::paging::Pages;
use crate::{
    Account, AccountsStep, Failure, More, Prompt, PromptKind, ReadStep, Redirect, Reply, Request, Send,
    SessionInfo, SessionStep, memory,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Why straight-line code ends early: a reply is missing, the customer is needed, or it cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Send these and call again.
    Send(Send),
    /// Ask the customer and call again; in `session` only, elsewhere it becomes `not-supported`.
    Ask(Box<Prompt>),
    /// It cannot go on.
    Fail(Failure),
}

impl Stop {
    /// One request, with nothing to remember: its reply says all.
    ///
    /// ```
    /// # use tidegate_sdk::*;
    /// fn accounts(replies: &[Reply]) -> Result<Vec<Account>, Stop> {
    ///     let [_reply] = replies else {
    ///         return Err(Stop::ask(Request::get("https://bank.example/accounts")));
    ///     };
    ///     Ok(Vec::new())
    /// }
    /// ```
    pub fn ask(request: Request) -> Self {
        Self::Send(Send { requests: vec![request], memory: String::new() })
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Fail(failure)
    }
}

impl From<Result<SessionInfo, Stop>> for SessionStep {
    fn from(result: Result<SessionInfo, Stop>) -> Self {
        match result {
            Ok(info) => Self::Ready(info),
            Err(Stop::Ask(prompt)) => Self::AskCustomer(*prompt),
            Err(Stop::Send(send)) => Self::Send(send),
            Err(Stop::Fail(failure)) => Self::Fail(failure),
        }
    }
}

impl From<Result<Vec<Account>, Stop>> for AccountsStep {
    fn from(result: Result<Vec<Account>, Stop>) -> Self {
        match result {
            Ok(accounts) => Self::Done(accounts),
            Err(Stop::Ask(_)) => Self::Fail(Failure::NotSupported),
            Err(Stop::Send(send)) => Self::Send(send),
            Err(Stop::Fail(failure)) => Self::Fail(failure),
        }
    }
}

impl From<Result<More, Stop>> for ReadStep {
    fn from(result: Result<More, Stop>) -> Self {
        match result {
            Ok(more) => Self::Pages(more),
            Err(Stop::Ask(_)) => Self::Fail(Failure::NotSupported),
            Err(Stop::Send(send)) => Self::Send(send),
            Err(Stop::Fail(failure)) => Self::Fail(failure),
        }
    }
}

/// The conversation so far.
#[derive(Debug)]
pub struct Flow<'a> {
    /// What each reply came to, in order.
    answers: Vec<Value>,
    /// How many of them this run has used.
    used: usize,
    /// Replies nobody has read yet.
    fresh: Option<&'a [Reply]>,
}

impl<'a> Flow<'a> {
    /// Picks up where the last call stopped.
    ///
    /// Fails as `unreadable` with the field `memory` when memory is not a flow's.
    pub fn new(memory: &str, replies: &'a [Reply]) -> Result<Self, Failure> {
        let answers = memory::load(memory)?;
        Ok(Self { answers, used: 0, fresh: (!replies.is_empty()).then_some(replies) })
    }

    /// Nothing was asked before this call.
    pub fn is_first_call(&self) -> bool {
        self.answers.is_empty() && self.fresh.is_none()
    }

    /// Sends a request and gives what `reduce` makes of its reply.
    ///
    /// `reduce` runs once per reply; later calls of the sync get its result from memory.
    pub fn ask<T: Serialize + DeserializeOwned>(
        &mut self,
        request: Request,
        reduce: impl FnOnce(&Reply) -> Result<T, Failure>,
    ) -> Result<T, Stop> {
        self.ask_all(vec![request], |replies| match replies {
            [reply] => reduce(reply),
            _ => Err(Failure::unreadable(None, "replies")),
        })
    }

    /// All pages of a list, one after another: `get` asks for one, `read` gives its items and its link to the
    /// next, which stands at `field` of the reply.
    ///
    /// ```
    /// # use tidegate_sdk::*;
    /// # use tidegate_sdk::json::{Listed, Object, each};
    /// # fn accounts(flow: &mut Flow) -> Result<Vec<Account>, Stop> {
    /// let get = |url: &str| Request::get(url);
    /// flow.ask_pages("https://bank.example/accounts", get, "Links.Next", |reply| {
    ///     let listed: Listed<Object> = Listed::read(&reply.body, "Accounts")?;
    ///     let next = listed.said("Links", "Next")?;
    ///     let account = |row: &Object| {
    ///         let (id, name) = (row.text("Id")?.into(), row.text("Name")?.into());
    ///         Ok(Some(Account { id, name, currency: "EUR".into(), number: None }))
    ///     };
    ///     Ok((each(&listed.rows.unwrap_or_default(), account)?, next))
    /// })
    /// # }
    /// ```
    pub fn ask_pages<T: Serialize + DeserializeOwned>(
        &mut self,
        first: &str,
        get: impl Fn(&str) -> Request,
        field: &str,
        read: impl Fn(&Reply) -> Result<(Vec<T>, Option<String>), Failure>,
    ) -> Result<Vec<T>, Stop> {
        let (mut url, mut pages, mut all) = (first.to_owned(), Pages::default(), Vec::new());
        loop {
            let (items, next) = self.ask(get(&url), &read)?;
            all.extend(items);
            match next {
                Some(next) => url = pages.follow(&url, &next, field)?,
                None => return Ok(all),
            }
        }
    }

    /// Sends at most 16 requests at the same time; `reduce` gets the replies in their order.
    pub fn ask_all<T: Serialize + DeserializeOwned>(
        &mut self,
        requests: Vec<Request>,
        reduce: impl FnOnce(&[Reply]) -> Result<T, Failure>,
    ) -> Result<T, Stop> {
        let bad_memory = |_| Failure::unreadable(None, "memory");
        if let Some(answer) = self.answers.get(self.used) {
            self.used += 1;
            return Ok(T::deserialize(answer).map_err(bad_memory)?);
        }
        let Some(replies) = self.fresh.take() else {
            return Err(Stop::Send(Send { requests, memory: memory::save(&self.answers)? }));
        };
        let answer = reduce(replies)?;
        self.answers.push(serde_json::to_value(&answer).map_err(bad_memory)?);
        self.used += 1;
        Ok(answer)
    }

    /// Remembers what `make` gives the first time: for a decision that must stay the same although the
    /// context changes, such as whether a value is there yet.
    pub fn note<T: Serialize + DeserializeOwned>(&mut self, make: impl FnOnce() -> T) -> Result<T, Failure> {
        let bad_memory = |_| Failure::unreadable(None, "memory");
        if let Some(noted) = self.answers.get(self.used) {
            self.used += 1;
            return T::deserialize(noted).map_err(bad_memory);
        }
        let made = make();
        self.answers.push(serde_json::to_value(&made).map_err(bad_memory)?);
        self.used += 1;
        Ok(made)
    }

    /// Asks the customer for values, by their declared names; goes on once they are there.
    ///
    /// ```
    /// # use tidegate_sdk::*;
    /// # fn session(flow: &mut Flow) -> Result<(), Stop> {
    /// flow.ask_for(&["username", "password"], "Log in as you do on your bank's own site.", None)?;
    /// // from here on requests may name them
    /// # Ok(()) }
    /// ```
    pub fn ask_for(&mut self, names: &[&str], text: &str, expires_at_ms: Option<u64>) -> Result<(), Stop> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.prompt(text, PromptKind::Form(names), expires_at_ms)
    }

    /// Sends the customer's browser to the bank; goes on when it came back.
    pub fn redirect(&mut self, to: Redirect, text: &str, expires_at_ms: Option<u64>) -> Result<(), Stop> {
        self.prompt(text, PromptKind::Redirect(to), expires_at_ms)
    }

    /// Asks the bank again and again, with so many milliseconds between, until `reduce` finds that the
    /// customer has acted.
    pub fn wait_for<T: Serialize + DeserializeOwned>(
        &mut self,
        request: Request,
        every_ms: u32,
        text: &str,
        reduce: impl FnOnce(&Reply) -> Result<Option<T>, Failure>,
    ) -> Result<T, Stop> {
        let before = self.answers.len();
        // In a list of one, so that an answer without content, `()`, is not taken for none.
        let answer: Option<(T,)> = self.ask(request, |reply| Ok(reduce(reply)?.map(|found| (found,))))?;
        answer.map(|(found,)| found).ok_or_else(|| {
            // Forgotten, so that the next call asks the bank once more.
            self.answers.truncate(before);
            match memory::save(&self.answers) {
                Ok(memory) => Stop::Ask(Box::new(Prompt {
                    text: text.to_owned(),
                    ask: PromptKind::Wait(every_ms),
                    expires_at_ms: None,
                    memory,
                })),
                Err(failure) => Stop::Fail(failure),
            }
        })
    }

    /// The answer stands in memory before it is given: being called again with it is the answer.
    fn prompt(&mut self, text: &str, ask: PromptKind, expires_at_ms: Option<u64>) -> Result<(), Stop> {
        if self.answers.get(self.used).is_some() {
            self.used += 1;
            return Ok(());
        }
        self.answers.push(Value::Null);
        let memory = memory::save(&self.answers)?;
        Err(Stop::Ask(Box::new(Prompt { text: text.to_owned(), ask, expires_at_ms, memory })))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn reply(body: &str) -> Reply {
        Reply { status: 200, headers: vec![], body: body.as_bytes().to_vec(), captured: vec![] }
    }

    /// Asks for a count, then for each item, then adds up.
    fn sum(memory: &str, replies: &[Reply]) -> Result<u32, Stop> {
        let mut flow = Flow::new(memory, replies)?;
        let count: u32 = flow.ask(Request::get("https://b.example/count"), |reply| reply.json())?;
        let mut sum = 0;
        for item in 0..count {
            let request = Request::get("https://b.example/item").segment(&item.to_string());
            sum += flow.ask(request, |reply| reply.json::<u32>())?;
        }
        Ok(sum)
    }

    fn sent(step: Result<u32, Stop>) -> (String, String) {
        let Err(Stop::Send(send)) = step else { panic!("{step:?}") };
        let [request] = send.requests.as_slice() else { panic!() };
        (request.url_text(), send.memory)
    }

    #[test]
    fn straight_line_code_runs_over_the_replies_so_far() {
        let (url, memory) = sent(sum("", &[]));
        assert_eq!((url.as_str(), memory.as_str()), ("https://b.example/count", "[]"));
        let (url, memory) = sent(sum(&memory, &[reply("2")]));
        assert_eq!((url.as_str(), memory.as_str()), ("https://b.example/item/0", "[2]"));
        let (url, memory) = sent(sum(&memory, &[reply("30")]));
        assert_eq!((url.as_str(), memory.as_str()), ("https://b.example/item/1", "[2,30]"));
        assert_eq!(sum(&memory, &[reply("12")]), Ok(42));
    }

    #[test]
    fn memory_keeps_what_replies_came_to_and_not_the_replies() {
        let run = |memory: &str, replies: &[Reply]| -> Result<(), Stop> {
            let mut flow = Flow::new(memory, replies)?;
            let _length: usize = flow.ask(Request::get("a"), |reply| Ok(reply.body.len()))?;
            flow.ask(Request::get("b"), |_| Ok(()))
        };
        let Err(Stop::Send(send)) = run("[]", &[reply(&"x".repeat(1_000_000))]) else { panic!() };
        assert_eq!(send.memory, "[1000000]");
    }

    #[test]
    fn a_reply_that_cannot_be_read_ends_the_flow() {
        assert_eq!(sum("[]", &[reply("many")]), Err(Stop::Fail(Failure::unreadable(None, ""))));
        assert_eq!(sum("{}", &[]), Err(Stop::Fail(Failure::unreadable(None, "memory"))));
        assert_eq!(sum(r#"["x"]"#, &[]), Err(Stop::Fail(Failure::unreadable(None, "memory"))));
        assert_eq!(
            sum("[]", &[reply("1"), reply("2")]),
            Err(Stop::Fail(Failure::unreadable(None, "replies")))
        );
    }

    /// Logs in with what the customer types, then waits for the bank's app.
    fn log_in(memory: &str, replies: &[Reply]) -> Result<u32, Stop> {
        let mut flow = Flow::new(memory, replies)?;
        flow.ask_for(&["pin"], "Your PIN, please.", None)?;
        flow.ask(Request::post("login"), |_| Ok(()))?;
        flow.wait_for(Request::get("approved"), 2_000, "Look at your app.", |reply| reply.json())
    }

    #[test]
    fn a_customer_is_asked_in_the_middle_and_the_code_goes_on_behind() {
        let Err(Stop::Ask(prompt)) = log_in("", &[]) else { panic!() };
        assert_eq!(prompt.ask, PromptKind::Form(vec!["pin".into()]));
        let (url, memory) = sent(log_in(&prompt.memory, &[]));
        assert_eq!(url, "login");
        let (url, memory) = sent(log_in(&memory, &[reply("")]));
        assert_eq!(url, "approved");
        // Not yet: asked again, as often as it takes.
        let Err(Stop::Ask(prompt)) = log_in(&memory, &[reply("null")]) else { panic!() };
        assert_eq!(prompt.ask, PromptKind::Wait(2_000));
        let (url, memory) = sent(log_in(&prompt.memory, &[]));
        assert_eq!(url, "approved");
        assert_eq!(log_in(&memory, &[reply("7")]), Ok(7));
    }

    #[test]
    fn an_answer_without_content_ends_the_waiting_for_good() {
        let run = |memory: &str, replies: &[Reply]| -> Result<(), Stop> {
            let mut flow = Flow::new(memory, replies)?;
            let done = |reply: &Reply| Ok((reply.status == 200).then_some(()));
            flow.wait_for(Request::get("a"), 1_000, "Look at your app.", done)?;
            flow.ask(Request::get("b"), |_| Ok(()))
        };
        let Err(Stop::Send(send)) = run("[]", &[reply("")]) else { panic!() };
        let [request] = send.requests.as_slice() else { panic!() };
        assert_eq!(request.url_text(), "b");
        assert_eq!(run(&send.memory, &[reply("")]), Ok(()));
    }

    #[test]
    fn requests_sent_together_are_read_together() {
        let run = |memory: &str, replies: &[Reply]| -> Result<Vec<u32>, Stop> {
            let both = vec![Request::get("a"), Request::get("b")];
            Flow::new(memory, replies)?.ask_all(both, |replies| replies.iter().map(Reply::json).collect())
        };
        let Err(Stop::Send(send)) = run("", &[]) else { panic!() };
        assert_eq!(send.requests.len(), 2);
        assert_eq!(run(&send.memory, &[reply("1"), reply("2")]), Ok(vec![1, 2]));
    }
}

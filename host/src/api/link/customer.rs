//! The customer who is at the page right now: banks that ask for the address are told it, and know that
//! nobody polls here.

use crate::egress::is_public;
use crate::model::CustomerPresent;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

/// What a proxy adds the address to that it was asked from, at the end.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Bytes of a user agent: the longest real ones have about 300.
const USER_AGENT_BYTES_MAX: usize = 512;

/// Whoever sent this request; none if nothing says where from.
pub fn present(request: &Request) -> Option<CustomerPresent> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let headers = request.headers();
    let user_agent = headers.get(USER_AGENT).and_then(|text| text.to_str().ok());
    let user_agent = user_agent.filter(|text| (1..=USER_AGENT_BYTES_MAX).contains(&text.len()));
    Some(CustomerPresent { ip: address(peer?, headers), user_agent: user_agent.map(str::to_owned) })
}

/// A peer on the internet is the customer. Any other is a proxy of the operator, whose word is taken: of what
/// it was told itself, further left, only what lies on the internet counts, the nearest first.
fn address(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let peer = peer.to_canonical();
    if is_public(peer) {
        return peer;
    }
    let lists = headers.get_all(FORWARDED_FOR).iter().filter_map(|list| list.to_str().ok());
    let mut told: Vec<IpAddr> = lists.flat_map(|list| list.split(',')).filter_map(read).collect();
    told.reverse();
    let nearest = told.first().copied();
    told.into_iter().find(|ip| is_public(*ip)).or(nearest).unwrap_or(peer)
}

/// An address, with or without a port.
fn read(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
    bare.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[track_caller]
    fn check(peer: &str, told: &[&'static str], expected: &str) {
        let mut headers = HeaderMap::new();
        for list in told {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(list));
        }
        assert_eq!(address(peer.parse().unwrap(), &headers), expected.parse::<IpAddr>().unwrap());
    }

    #[test]
    fn the_customers_address_is_the_peers_or_what_the_operators_proxy_says() {
        check("9.9.9.9", &[], "9.9.9.9");
        check("9.9.9.9", &["8.8.8.8"], "9.9.9.9");
        check("127.0.0.1", &[], "127.0.0.1");
        check("127.0.0.1", &["8.8.8.8"], "8.8.8.8");
        check("::ffff:10.0.0.1", &["1.1.1.1, 8.8.8.8"], "8.8.8.8");
        check("10.0.0.1", &["1.1.1.1, 8.8.8.8:4711", "10.0.0.7"], "8.8.8.8");
        check("10.0.0.1", &["unknown, 10.0.0.9"], "10.0.0.9");
        check("10.0.0.1", &["[2620:fe::fe]:443"], "2620:fe::fe");
    }
}

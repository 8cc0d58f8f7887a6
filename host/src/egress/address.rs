//! Which addresses may be connected to. Asked for literal addresses before the request leaves and
//! for names by the client's own resolver, so that the address that was checked is the address
//! that is connected to.
//!
//! A resolver is not told the port; that is why there is one [`Guard`], and one client, per port.

use super::EgressError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Networks of IPv4 that are not the public internet (IANA special-purpose registry, RFC 6890).
const BLOCKED_V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // carrier-grade NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local, cloud metadata
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // IETF protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 31, 196, 0], 24), // AS112
    ([192, 52, 193, 0], 24), // AMT
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
];

/// The only IPv6 network that is given out to the public internet (RFC 4291).
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Networks inside [`GLOBAL_V6`] that are not public, or that carry an IPv4 address.
const BLOCKED_V6: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // IETF assignments: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Is it an address of the public internet?
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !BLOCKED_V4.iter().any(|(net, bits)| {
            shares_bits(u32::from(Ipv4Addr::from(*net)).into(), u32::from(ip).into(), 32, *bits)
        }),
        IpAddr::V6(ip) => {
            let within =
                |(net, bits): &(Ipv6Addr, u32)| shares_bits(u128::from(*net), u128::from(ip), 128, *bits);
            within(&GLOBAL_V6) && !BLOCKED_V6.iter().any(within)
        }
    }
}

/// Are the first `bits` of two addresses of `width` bits alike?
fn shares_bits(one: u128, other: u128, width: u32, bits: u32) -> bool {
    (one ^ other) >> (width - bits) == 0
}

/// What one client may connect to.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// Addresses the operator allows.
    pub allow: Arc<[SocketAddr]>,
    /// Plain http: nothing but what is allowed.
    pub plain: bool,
    /// The port of every request of this client.
    pub port: u16,
}

/// An address that may not be connected to; the sentence for the operator.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct Blocked(pub String);

/// The name could not be resolved.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the name could not be resolved")]
pub(super) struct NoSuchName;

impl Guard {
    /// May this address be connected to?
    pub fn check(&self, host: &str, ip: IpAddr) -> Result<(), Blocked> {
        let address = SocketAddr::new(ip, self.port);
        if self.allow.contains(&address) {
            return Ok(());
        }
        if self.plain {
            return Err(Blocked(format!(
                "\"{host}\" is {address}, and plain http is only for allowed addresses; use https, or add \"{address}\" to egress.allow"
            )));
        }
        if is_public(ip) {
            return Ok(());
        }
        Err(Blocked(format!(
            "\"{host}\" is {address}, which is not an address of the public internet; if it is meant, add \"{address}\" to egress.allow"
        )))
    }

    /// The same for a URL's host, where it is an address and no resolver will be asked.
    pub fn check_literal(&self, url: &url::Url) -> Result<(), EgressError> {
        let ip = match url.host() {
            Some(url::Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip),
            _ => return Ok(()),
        };
        self.check(url.host_str().unwrap_or_default(), ip)
            .map_err(|blocked| EgressError::BlockedAddress(blocked.0))
    }

    /// The same for a host that somebody else will connect to for us: a name must be known here too, since an address that
    /// nobody looked at may not be connected to.
    pub async fn check_for_proxy(&self, url: &url::Url) -> Result<(), EgressError> {
        self.check_literal(url)?;
        let Some(url::Host::Domain(name)) = url.host() else { return Ok(()) };
        let blocked = |sentence: String| EgressError::BlockedAddress(sentence);
        let found = tokio::net::lookup_host((name, self.port)).await.map_err(|_| {
            blocked(format!(
                "\"{name}\" has no address here, so that nobody can look where the proxy would lead; let this machine resolve it"
            ))
        })?;
        for address in found {
            self.check(name, address.ip()).map_err(|Blocked(sentence)| blocked(sentence))?;
        }
        Ok(())
    }

    /// Of what a name resolves to, what may be connected to; the first objection if that is nothing.
    fn permitted(&self, host: &str, found: impl Iterator<Item = IpAddr>) -> Result<Vec<SocketAddr>, Blocked> {
        let mut objection = None;
        let mut permitted = Vec::new();
        for ip in found {
            match self.check(host, ip) {
                Ok(()) => permitted.push(SocketAddr::new(ip, self.port)),
                Err(blocked) => objection = objection.or(Some(blocked)),
            }
        }
        match objection {
            Some(blocked) if permitted.is_empty() => Err(blocked),
            _ => Ok(permitted),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), guard.port)).await.map_err(|_| NoSuchName)?;
            let permitted = guard.permitted(name.as_str(), found.map(|address| address.ip()))?;
            if permitted.is_empty() {
                return Err(NoSuchName.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        let blocked = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.31.196.1",
            "192.52.193.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:8.8.8.8",
            "64:ff9b::a00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "2620:4f:8000::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
        ];
        for text in blocked {
            assert!(!is_public(ip(text)), "{text}");
        }
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2001:db7::1",
            "2001:db9::1",
            "2003::1",
            "2606:4700::1111",
            "3ffe::1",
            "3fff:1000::1",
            "2a00:1450::1",
        ];
        for text in public {
            assert!(is_public(ip(text)), "{text}");
        }
    }

    fn guard(allow: &[&str], plain: bool, port: u16) -> Guard {
        Guard { allow: allow.iter().map(|text| text.parse().unwrap()).collect(), plain, port }
    }

    #[test]
    fn an_allowed_address_opens_its_own_port_and_no_other() {
        assert!(guard(&["127.0.0.1:8000"], true, 8000).check("bank", ip("127.0.0.1")).is_ok());
        for (host, port) in
            [("127.0.0.1", 8001), ("127.0.0.2", 8000), ("::ffff:127.0.0.1", 8000), ("::1", 8000)]
        {
            for plain in [true, false] {
                assert!(
                    guard(&["127.0.0.1:8000"], plain, port).check("bank", ip(host)).is_err(),
                    "{host}:{port}"
                );
            }
        }
    }

    #[test]
    fn plain_http_is_only_for_allowed_addresses() {
        assert!(guard(&[], false, 80).check("bank", ip("8.8.8.8")).is_ok());
        let said = guard(&[], true, 80).check("bank", ip("8.8.8.8")).unwrap_err().0;
        assert!(said.contains("add \"8.8.8.8:80\" to egress.allow"), "{said}");
        assert!(guard(&["8.8.8.8:80"], true, 80).check("bank", ip("8.8.8.8")).is_ok());
    }

    #[test]
    fn of_a_names_addresses_only_the_permitted_are_connected_to() {
        let found = || ["10.0.0.1", "8.8.8.8", "::1"].into_iter().map(ip);
        let permitted = guard(&[], false, 443).permitted("bank", found()).unwrap();
        assert_eq!(permitted, ["8.8.8.8:443".parse().unwrap()]);
        let said =
            guard(&[], false, 443).permitted("bank", ["10.0.0.1", "::1"].into_iter().map(ip)).unwrap_err().0;
        assert!(said.contains("\"bank\" is 10.0.0.1:443"), "{said}");
    }

    #[test]
    fn however_an_address_is_written_it_is_checked() {
        for host in
            ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:7f00:1]", "0"]
        {
            let url = url::Url::parse(&format!("https://{host}/")).unwrap();
            assert!(guard(&[], false, 443).check_literal(&url).is_err(), "{host}");
        }
        let url = url::Url::parse("https://8.8.8.8/").unwrap();
        assert!(guard(&[], false, 443).check_literal(&url).is_ok());
    }
}

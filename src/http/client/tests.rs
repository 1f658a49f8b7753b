//! Who is taken for the client, behind which proxies, by which headers.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const XFF: &str = "x-forwarded-for";
const F: &str = "forwarded";

fn proxies(header: ForwardedHeader) -> Proxies {
    let trusted = ["10.0.0.0/8", "fd00::/8"];
    Proxies {
        trusted: trusted.iter().map(|range| range.parse().unwrap()).collect(),
        proxy_protocol: false,
        pass_tls: false,
        header,
    }
}

fn lines(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn addr(text: &str) -> ClientAddr {
    let with_port = text.parse::<SocketAddr>().map(ClientAddr::from);
    with_port.unwrap_or_else(|_| ClientAddr::new(text.parse().unwrap(), None))
}

/// The client's address as it shows in the log, and whether it has a key.
fn found(peer: &str, header: ForwardedHeader, headers: &[(&str, &str)]) -> (String, bool) {
    let caller = Caller::find(addr(peer).into(), &lines(headers), &proxies(header));
    if let Some(key) = caller.key {
        assert_eq!(key, caller.address.into());
    }
    (caller.address.to_string(), caller.key.is_some())
}

/// One that a proxy without its own headers had open when a reload switched `proxy_protocol` on could name any client.
#[test]
fn where_proxies_introduce_their_clients_an_open_connection_that_was_not_introduced_names_nobody() {
    let peer = Peer::from(addr("10.0.0.1:1"));
    let headers = lines(&[(XFF, "192.0.2.1"), ("x-forwarded-proto", "https")]);
    let named = |peer, proxy_protocol| {
        let proxies = Proxies {
            proxy_protocol,
            ..proxies(ForwardedHeader::XForwardedFor)
        };
        let caller = Caller::find(peer, &headers, &proxies);
        (
            caller.address.to_string(),
            caller.key.is_some(),
            caller.scheme,
        )
    };
    let client = ("192.0.2.1".to_owned(), true, Scheme::Https);
    let nobody = ("10.0.0.1:1".to_owned(), false, Scheme::Http);
    assert_eq!(named(peer, false), client);
    assert_eq!(named(peer, true), nobody);
    // A proxy that is another's client is believed as it always is.
    assert_eq!(named(peer.introduced(), true), client);
}

/// The same, with each line of headers as `X` or `F` and its value, `|` between them; proxies send the first one's. Who has
/// no key is `nobody`.
fn asks(peer: &str, headers: &str) -> String {
    let name = |line: &str| if line.starts_with('F') { F } else { XFF };
    let header = if headers.starts_with('F') {
        ForwardedHeader::Forwarded
    } else {
        ForwardedHeader::XForwardedFor
    };
    let lines: Vec<_> = headers
        .split('|')
        .filter_map(|line| Some((name(line), line.split_once(' ')?.1)))
        .collect();
    match found(peer, header, &lines) {
        (client, true) => client,
        (client, false) => format!("nobody at {client}"),
    }
}

#[test]
fn without_a_trusted_proxy_the_client_is_who_connects() {
    for (peer, headers, client) in [
        ("192.0.2.1:7", "", "192.0.2.1:7"),
        ("[::ffff:192.0.2.1]:7", "", "192.0.2.1:7"),
        ("192.0.2.1:7", "X 6.6.6.6", "192.0.2.1:7"),
        ("192.0.2.1:7", "F for=6.6.6.6", "192.0.2.1:7"),
    ] {
        assert_eq!(asks(peer, headers), client, "{peer} {headers}");
    }
}

#[test]
fn behind_trusted_proxies_the_client_is_whom_the_farthest_of_them_names() {
    for (headers, client) in [
        ("X 192.0.2.1", "192.0.2.1"),
        ("X 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("X 6.6.6.6,192.0.2.1 ,\t10.0.0.2", "192.0.2.1"),
        ("X 6.6.6.6|X 192.0.2.1", "192.0.2.1"),
        ("X \", 192.0.2.1", "192.0.2.1"),
        ("X \u{fc}|X 192.0.2.1", "192.0.2.1"),
        // However it is written.
        ("X 192.0.2.1:90", "192.0.2.1:90"),
        ("X ::ffff:192.0.2.1", "192.0.2.1"),
        ("X 2001:db8::1", "2001:db8::1"),
        ("X [2001:db8::1]", "2001:db8::1"),
        ("X [2001:db8::1]:90", "[2001:db8::1]:90"),
        ("F for=192.0.2.1", "192.0.2.1"),
        ("F by=x;FOR=\"192.0.2.1:90\" ; proto=http", "192.0.2.1:90"),
        (
            "F for=6.6.6.6, for=\"[2001:db8::1]:90\"",
            "[2001:db8::1]:90",
        ),
        ("F for=\"6.6.6.6, for=192.0.2.1", "192.0.2.1"),
        ("F for=192.0.2.1;by=10.0.0.2, for=10.0.0.2", "192.0.2.1"),
        ("F for=6.6.6.6, for=192.0.2.1;", "192.0.2.1"),
        ("F ;for=192.0.2.1; ;proto=https", "192.0.2.1"),
        // The header that the proxy does not send is the client's own.
        ("X 192.0.2.1|F for=6.6.6.6", "192.0.2.1"),
        ("F for=192.0.2.1|X 6.6.6.6", "192.0.2.1"),
    ] {
        for peer in ["10.0.0.1:7", "[::ffff:10.0.0.1]:7", "[fd00::1]:7"] {
            assert_eq!(asks(peer, headers), client, "{peer} {headers}");
        }
    }
}

/// Nobody is named, or in no way that can be read: it is never who stands before that, and never the proxy.
#[test]
fn a_proxy_that_speaks_for_itself_is_taken_at_its_word() {
    let peer = Peer::from(addr("10.0.0.1:7")).speaking_for_itself();
    let headers = lines(&[(XFF, "192.0.2.1")]);
    let caller = Caller::find(peer, &headers, &proxies(ForwardedHeader::XForwardedFor));
    assert_eq!((caller.address, caller.key), (peer.address, None));
}

#[test]
fn where_no_trusted_proxy_names_a_client_nobody_is_limited() {
    for (headers, client) in [
        ("", "10.0.0.1:7"),
        ("X ", "10.0.0.1:7"),
        ("X 6.6.6.6, ", "10.0.0.1:7"),
        ("X 6.6.6.6, unknown", "10.0.0.1:7"),
        ("X 6.6.6.6, bad, 10.0.0.2", "10.0.0.2"),
        ("X 10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("X 6.6.6.6|X \u{fc}", "10.0.0.1:7"),
        ("X 192.0.2.1:", "10.0.0.1:7"),
        ("X 192.0.2.1:+90", "10.0.0.1:7"),
        ("X 192.0.2.1:65536", "10.0.0.1:7"),
        ("X [192.0.2.1]", "10.0.0.1:7"),
        ("X [2001:db8::1]90", "10.0.0.1:7"),
        ("F for=_hidden", "10.0.0.1:7"),
        ("F for=6.6.6.6, proto=http", "10.0.0.1:7"),
        ("F for=6.6.6.6;for=192.0.2.1", "10.0.0.1:7"),
        ("F for=\"192.0.2.1", "10.0.0.1:7"),
        ("F 192.0.2.1", "10.0.0.1:7"),
    ] {
        let nobody = format!("nobody at {client}");
        assert_eq!(asks("10.0.0.1:7", headers), nobody, "{headers}");
    }
}

/// The scheme of a request that came in the clear from a trusted proxy.
fn scheme(peer: Peer, header: ForwardedHeader, headers: &[(&str, &str)]) -> &'static str {
    let caller = Caller::find(peer, &lines(headers), &proxies(header));
    caller.scheme.as_str()
}

#[test]
fn the_scheme_is_what_the_farthest_trusted_proxy_says() {
    const XFP: &str = "x-forwarded-proto";
    let proxy = Peer::from(addr("10.0.0.1:7"));
    for (client, proto, told) in [
        ("192.0.2.1", "https", "https"),
        ("192.0.2.1", "HTTPS", "https"),
        ("192.0.2.1", "http, https", "https"),
        ("192.0.2.1", "https, http", "http"),
        ("192.0.2.1, 10.0.0.2", "https", "https"),
        ("192.0.2.1, 10.0.0.2", "https, http", "https"),
        ("6.6.6.6, 192.0.2.1, 10.0.0.2", "http, https, http", "https"),
        ("192.0.2.1", "wss", "http"),
        ("unknown", "https", "https"),
    ] {
        let told_by = [(XFF, client), (XFP, proto)];
        let header = ForwardedHeader::XForwardedFor;
        assert_eq!(scheme(proxy, header, &told_by), told, "{client} {proto}");
    }
    let header = ForwardedHeader::XForwardedFor;
    assert_eq!(scheme(proxy, header, &[(XFP, "https")]), "https");
    for (element, told) in [
        ("for=192.0.2.1;proto=https", "https"),
        ("proto=\"HTTPS\"", "https"),
        ("for=192.0.2.1;proto=https, for=10.0.0.2", "https"),
        ("proto=https, for=192.0.2.1", "http"),
        ("proto=https;proto=http", "http"),
    ] {
        let header = ForwardedHeader::Forwarded;
        assert_eq!(scheme(proxy, header, &[(F, element)]), told, "{element}");
        assert_eq!(scheme(proxy, header, &[(XFP, "https")]), "http");
    }
}

#[test]
fn who_is_no_trusted_proxy_does_not_say_how_it_came() {
    let told = [(XFF, "192.0.2.1"), ("x-forwarded-proto", "https")];
    let client = Peer::from(addr("192.0.2.1:7"));
    let itself = Peer::from(addr("10.0.0.1:7")).speaking_for_itself();
    for peer in [client, itself] {
        let header = ForwardedHeader::XForwardedFor;
        assert_eq!(scheme(peer, header, &told), "http");
        assert_eq!(scheme(peer.over_tls(), header, &told[..1]), "https");
    }
}

/// `trusted` has let in all the clients of a proxy that nobody had named in `trusted_proxies`.
#[test]
fn what_came_through_a_proxy_that_is_not_trusted_is_told_from_what_began_there() {
    const REAL: &str = "x-real-ip";
    let (xff, f) = (ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded);
    for (peer, header, told, passed_on) in [
        ("192.0.2.1:7", xff, &[][..], false),
        (
            "192.0.2.1:7",
            xff,
            &[("via", "1.1 x"), ("x-forwarded-proto", "https")],
            false,
        ),
        ("192.0.2.1:7", xff, &[(XFF, "198.51.100.1")], true),
        ("192.0.2.1:7", xff, &[(F, "for=198.51.100.1")], true),
        ("192.0.2.1:7", xff, &[(F, "proto=https")], true),
        ("192.0.2.1:7", xff, &[(REAL, "198.51.100.1")], true),
        ("192.0.2.1:7", xff, &[(XFF, "unknown")], true),
        ("192.0.2.1:7", xff, &[(XFF, "")], true),
        // A proxy that has said the same in a PROXY header.
        (
            "192.0.2.1:7",
            xff,
            &[(XFF, "192.0.2.1"), (REAL, "::ffff:192.0.2.1")],
            false,
        ),
        (
            "192.0.2.1:7",
            xff,
            &[(XFF, "198.51.100.1, 192.0.2.1")],
            true,
        ),
        ("10.0.0.1:7", xff, &[(XFF, "192.0.2.1")], false),
        (
            "10.0.0.1:7",
            xff,
            &[(XFF, "192.0.2.1, 10.0.0.2"), (REAL, "10.0.0.2")],
            false,
        ),
        ("10.0.0.1:7", xff, &[(XFF, "198.51.100.1, 192.0.2.1")], true),
        (
            "10.0.0.1:7",
            xff,
            &[(XFF, "192.0.2.1"), ("x-forwarded-proto", "http, https")],
            false,
        ),
        ("10.0.0.1:7", f, &[(F, "for=192.0.2.1")], false),
        ("10.0.0.1:7", f, &[(F, "for=_hidden, for=192.0.2.1")], true),
    ] {
        let caller = Caller::find(Peer::from(addr(peer)), &lines(told), &proxies(header));
        assert_eq!(caller.passed_on, passed_on, "{peer} {told:?}");
    }
}

#[test]
fn an_address_of_the_fourth_kind_is_one_key_and_half_of_one_of_the_sixth() {
    let key = |text: &str| ClientKey::from(addr(text));
    assert_eq!(key("192.0.2.1:1"), key("[::ffff:192.0.2.1]:2"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    assert_eq!(
        key("2001:db8:0:1::1"),
        key("2001:db8:0:1:ffff:ffff:ffff:ffff")
    );
    assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
    // Not the IPv4 address 0.0.0.0, nor any other.
    assert_ne!(key("::1"), key("0.0.0.0"));
}

proptest! {
    #[test]
    fn an_address_is_written_as_it_is_displayed(ip: IpAddr, port: Option<u16>) {
        let address = ClientAddr::new(ip, port);
        prop_assert_eq!(address.text(), address.to_string());
    }

    /// What a client writes before what its proxy adds changes nothing, whatever it is.
    #[test]
    fn no_client_chooses_who_it_is(
        theirs in "[ -~]{0,60}",
        own_line in any::<bool>(),
        other in "[ -~]{0,60}",
        forwarded in any::<bool>(),
    ) {
        let (header, name, added, other_name) = if forwarded {
            (ForwardedHeader::Forwarded, "forwarded", "for=192.0.2.1", XFF)
        } else {
            (ForwardedHeader::XForwardedFor, XFF, "192.0.2.1", "forwarded")
        };
        let joined = format!("{theirs}, {added}");
        let headers = if own_line {
            vec![(name, theirs.as_str()), (name, added), (other_name, other.as_str())]
        } else {
            vec![(name, joined.as_str()), (other_name, other.as_str())]
        };
        let expected = ("192.0.2.1".to_owned(), true);
        prop_assert_eq!(found("10.0.0.1:7", header, &headers), expected);
    }

    /// Any text is read without a panic, and a trusted proxy's address is never a key.
    #[test]
    fn a_proxys_own_address_is_never_a_key(text in ".{0,80}", list in "([0-9a-f:.,\\[\\]\" ]|for=|10\\.0\\.0\\.[0-9]|,){0,20}", forwarded in any::<bool>()) {
        let header = if forwarded { ForwardedHeader::Forwarded } else { ForwardedHeader::XForwardedFor };
        let name = if forwarded { "forwarded" } else { XFF };
        for text in [&text, &list] {
            let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else { continue };
            let headers = HeaderMap::from_iter([(name.parse::<HeaderName>().unwrap(), value)]);
            let proxies = proxies(header);
            let caller = Caller::find(addr("10.0.0.1:7").into(), &headers, &proxies);
            prop_assert_eq!(caller.key.is_none(), caller.address.is_in(&proxies.trusted));
        }
    }

    #[test]
    fn addresses_read_back_as_they_are_shown(ip in any::<IpAddr>(), port in any::<Option<u16>>()) {
        let address = ClientAddr::new(ip, port);
        let text = address.to_string();
        let (shown, has_key) = found("10.0.0.1:7", ForwardedHeader::XForwardedFor, &[(XFF, &text)]);
        prop_assert_eq!(&shown, &text);
        prop_assert_eq!(has_key, !address.is_in(&proxies(ForwardedHeader::XForwardedFor).trusted));
    }
}

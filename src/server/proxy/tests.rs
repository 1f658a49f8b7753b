//! Headers as proxies write them, as they should not, and in pieces.

use proptest::prelude::*;
use proxy_header::{ProxiedAddress, ProxyHeader};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;

fn source(text: &str) -> Source {
    Source::Client(text.parse().unwrap())
}

#[test]
fn lines_of_version_1_are_read_to_the_letter() {
    for (line, expected) in [
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65535\r\n",
            Some(source("192.0.2.1:1")),
        ),
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n",
            Some(source("192.0.2.1:0")),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
            Some(source("[2001:db8::1]:1")),
        ),
        (
            "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
            Some(source("[::ffff:192.0.2.1]:1")),
        ),
        ("PROXY UNKNOWN\r\n", Some(Source::Proxy)),
        (
            "PROXY UNKNOWN ffff:f...f:ffff whatever\r\n",
            Some(Source::Proxy),
        ),
        ("PROXY UNKNOWNS\r\n", None),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65535\n", None),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", None),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", None),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", None),
        ("PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", None),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", None),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", None),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", None),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", None),
        ("PROXY TCP4 2001:db8::1 ::1 1 2\r\n", None),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", None),
        ("PROXY TCP4 mirror 192.0.2.2 1 2\r\n", None),
        ("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", None),
        ("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", None),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\u{fc}\r\n", None),
    ] {
        assert_eq!(parse_v1(line.as_bytes()), expected, "{line:?}");
    }
}

#[test]
fn headers_of_version_2_are_read_by_their_command_and_family() {
    let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0, 80, 1, 0];
    let mut v6 = [0; 36];
    (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 1, 90);
    let with_more = [&v4[..], &[4, 0, 1, 9]].concat();
    for (kind, rest, expected) in [
        ([0x21, 0x11], &v4[..], Some(source("192.0.2.1:80"))),
        ([0x21, 0x11], &with_more, Some(source("192.0.2.1:80"))),
        ([0x21, 0x21], &v6, Some(source("[2001::1]:90"))),
        // A proxy's own test, a client without an address, and one on a path.
        ([0x20, 0x11], &v4, Some(Source::Proxy)),
        ([0x20, 0x00], &[], Some(Source::Proxy)),
        ([0x21, 0x00], &[], Some(Source::Proxy)),
        ([0x21, 0x31], &[0; 216], Some(Source::Proxy)),
        // Too short, a datagram, another version, another command.
        ([0x21, 0x11], &v4[..11], None),
        ([0x21, 0x21], &v6[..35], None),
        ([0x21, 0x12], &v4, None),
        ([0x11, 0x11], &v4, None),
        ([0x22, 0x11], &v4, None),
    ] {
        assert_eq!(parse_v2(kind, rest), expected, "{kind:x?} {rest:?}");
    }
}

/// Reads `header` from a socket that gets it in two parts, `more` with the second, and then what comes after it.
async fn read_from(
    header: &[u8],
    cut: usize,
    more: &[u8],
) -> (Result<Source, ProxyError>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (head, tail) = header.split_at(cut.min(header.len()));
    let (head, tail) = (head.to_vec(), [tail, more].concat());
    let send = async move {
        let mut proxy = TcpStream::connect(address).await.unwrap();
        proxy.set_nodelay(true).unwrap();
        proxy.write_all(&head).await.unwrap();
        tokio::task::yield_now().await;
        // The mirror may have had enough already.
        let _ = proxy.write_all(&tail).await;
    };
    let receive = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let read = read(&mut stream).await;
        let mut rest = Vec::new();
        if read.is_ok() {
            stream.read_to_end(&mut rest).await.unwrap();
        }
        (read, rest)
    };
    let ((), received) = tokio::join!(send, receive);
    received
}

#[tokio::test]
async fn a_header_is_read_in_pieces_and_not_a_byte_beyond_it() {
    let v2 = [
        &SIGNATURE[..],
        &[0x21, 0x11, 0, 15],
        &[192, 0, 2, 1, 0, 0, 0, 0, 0, 7, 0, 0, 4, 0, 0],
    ]
    .concat();
    for header in [b"PROXY TCP4 192.0.2.1 192.0.2.2 7 2\r\n".to_vec(), v2] {
        for cut in 0..=header.len() {
            let (read, rest) = read_from(&header, cut, b"GET ").await;
            assert_eq!(read.unwrap(), source("192.0.2.1:7"), "{cut}");
            assert_eq!(rest, b"GET ", "{cut}");
        }
    }
}

#[tokio::test]
async fn what_is_no_header_is_told_apart_from_an_end() {
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let huge = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
    for bad in [
        &b"GET /v2/ HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0",
        &endless,
        &huge,
    ] {
        let (read, _) = read_from(bad, 5, b"GET ").await;
        assert!(matches!(read, Err(ProxyError::Malformed)), "{read:?}");
    }
    for short in [&b""[..], b"PROXY", &SIGNATURE[..11]] {
        let (read, _) = read_from(short, 0, b"").await;
        assert!(
            matches!(read, Err(ProxyError::Ended(_))),
            "{short:?} {read:?}"
        );
    }
}

proptest! {
    /// What another's hand writes is read as it was meant.
    #[test]
    fn what_other_code_writes_is_read(source in any::<SocketAddr>(), port in any::<u16>(), v2 in any::<bool>()) {
        let destination = SocketAddr::new(source.ip(), port);
        let header = ProxyHeader::with_address(ProxiedAddress::stream(source, destination));
        let mut written = [0; 200];
        let expected = Some(Source::Client(SocketAddr::new(source.ip(), source.port())));
        if v2 {
            let length = header.encode_to_slice_v2(&mut written).unwrap();
            prop_assert_eq!(&written[..12], &SIGNATURE);
            let rest = &written[16..length];
            prop_assert_eq!(usize::from(u16::from_be_bytes([written[14], written[15]])), rest.len());
            prop_assert_eq!(parse_v2([written[12], written[13]], rest), expected);
        } else {
            let length = header.encode_to_slice_v1(&mut written).unwrap();
            prop_assert!(length <= LONGEST_V1);
            prop_assert_eq!(parse_v1(&written[..length]), expected);
        }
    }

    #[test]
    fn no_bytes_panic(line in "PROXY (TCP4|TCP6|UNKNOWN)?[ -~\r\n]{0,90}", kind in any::<[u8; 2]>(), rest in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse_v1(line.as_bytes());
        let _ = parse_v1(&rest);
        let _ = parse_v2(kind, &rest);
        let _ = parse_v2([0x21, 0x21], &rest);
    }
}

//! Connections of one client.

use std::time::Duration;

use super::socket::{PING, connect, head};
use crate::harness::{Setup, origin_with_blob};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_told_so_and_closed_and_no_other_clients_is() {
    let (origin, _) = origin_with_blob(1, 1000).await;
    let forebay = Setup::new(&origin)
        .config("[limits]\nper_client_connections = 2")
        .start()
        .await;
    let to = forebay.address;
    let mut first = connect(2, to).await;
    let mut second = connect(2, to).await;
    for stream in [&mut first, &mut second] {
        assert!(
            head(stream, PING.as_bytes())
                .await
                .starts_with("HTTP/1.1 200")
        );
    }
    let mut third = connect(2, to).await;
    let refused = head(&mut third, PING.as_bytes()).await;
    assert!(
        refused.starts_with("HTTP/1.1 429") && refused.contains("connection: close"),
        "{refused}"
    );
    let mut other = connect(3, to).await;
    assert!(
        head(&mut other, PING.as_bytes())
            .await
            .starts_with("HTTP/1.1 200")
    );
    let refusals = forebay
        .metric("forebay_client_refusals_total", "connections")
        .await;
    assert_eq!(refusals.to_string(), "1");

    // The mirror sees the end of one a moment later than we do.
    drop(first);
    let let_in = async {
        loop {
            let mut next = connect(2, to).await;
            let answer = head(&mut next, PING.as_bytes()).await;
            if answer.starts_with("HTTP/1.1 200") {
                break;
            }
        }
    };
    let let_in = tokio::time::timeout(Duration::from_mins(1), let_in).await;
    let_in.expect("there is room for another one");
    forebay
        .until_logged("the refusal", |log| {
            log.contains("`per_client_connections` under [limits]")
        })
        .await;
}

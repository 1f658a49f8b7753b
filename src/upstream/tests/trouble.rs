//! Upstreams in trouble: how long they are waited for, how often they are asked, what is told.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use forebay_loadtest::origin::{Fault, Kind, Origin, Reply, Server};

use super::{count, latest, manifest_and_layer, name, origin, set_up, settings, upstream_of};
use crate::oci::{ErrorCode, Reference};
use crate::upstream::{ErrorKind, Trouble};

/// The promise to clients: a miss gets its error within this time.
const PROMISED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn passing_trouble_is_not_noticed() {
    for status in [408, 500, 502, 503, 504] {
        let origin = origin(Origin::builder()).await;
        let upstream = upstream_of(&origin);
        origin.on(Kind::ManifestGet).times(2, Fault::status(status));
        upstream.get_manifest(&name(), &latest()).await.unwrap();
        assert_eq!(count(&origin, Kind::ManifestGet), 3, "{status}");
    }
}

#[tokio::test]
async fn lasting_trouble_is_told_after_three_requests() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    origin.on(Kind::ManifestGet).always(Fault::status(503));
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Status(503)));
    assert!(error.is_trouble());
    assert_eq!(count(&origin, Kind::ManifestGet), 3);
}

#[tokio::test]
async fn a_short_retry_after_is_honoured_and_a_long_one_told() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    let busy = |seconds: &str| Fault::Answer(Reply::quota_spent().header("retry-after", seconds));
    origin.on(Kind::ManifestGet).once(busy("1"));
    let began = Instant::now();
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "asked again before its time"
    );
    origin.reset();
    origin.on(Kind::ManifestGet).once(busy("3600"));
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
    assert_eq!(count(&origin, Kind::ManifestGet), 1);
}

#[tokio::test]
async fn a_refused_connection_is_told_in_time() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    origin.stop().await;
    let began = Instant::now();
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Connect));
    assert!(began.elapsed() < PROMISED);
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_in_time() {
    let upstream = set_up(settings(&["http://registry.invalid"]));
    let began = Instant::now();
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Unavailable(Trouble::Connect),
        "{error}"
    );
    assert!(began.elapsed() < PROMISED);
}

#[tokio::test]
async fn connections_that_never_come_about_are_told_in_time() {
    // A listener that nobody accepts from, its backlog filled: further SYNs get no answer.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(
            &"127.0.0.1:0"
                .parse::<std::net::SocketAddr>()
                .unwrap()
                .into(),
        )
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _backlog = std::net::TcpStream::connect(address).unwrap();
    let upstream = set_up(settings(&[&format!("http://{address}")]));
    let began = Instant::now();
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable(_)), "{error}");
    assert!(began.elapsed() < PROMISED, "{:?}", began.elapsed());
}

#[tokio::test]
async fn silence_after_the_request_is_a_timeout() {
    let origin = origin(Origin::builder()).await;
    let mut impatient = settings(&[&origin.registry_url()]);
    impatient.timeouts.connect = Duration::from_millis(700);
    impatient.timeouts.first_byte = Duration::from_millis(300);
    let upstream = set_up(impatient);
    origin.on(Kind::ManifestGet).always(Fault::hang());
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Timeout));
    assert_eq!(count(&origin, Kind::ManifestGet), 3);
}

#[tokio::test]
async fn a_server_that_hangs_up_without_an_answer_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hangs_up = std::thread::spawn(move || {
        for _ in 0..3 {
            drop(listener.accept().unwrap());
        }
    });
    let upstream = set_up(settings(&[&format!("http://{address}")]));
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Unavailable(Trouble::Connect),
        "{error}"
    );
    hangs_up.join().unwrap();
}

#[tokio::test]
async fn what_is_named_by_digest_may_come_from_any_endpoint_and_tags_from_the_first_only() {
    let first = origin(Origin::builder()).await;
    let second = origin(Origin::builder()).await;
    let upstream = set_up(settings(&[&first.registry_url(), &second.registry_url()]));
    let (digest, layer) = manifest_and_layer(&second);
    upstream.get_blob(&name(), &layer, None).await.unwrap();
    assert_eq!(second.counts().total(), 0, "in order");

    first.stop().await;
    let by_digest = Reference::Digest(digest);
    upstream.get_manifest(&name(), &by_digest).await.unwrap();
    upstream.get_blob(&name(), &layer, None).await.unwrap();
    assert_eq!(second.counts().total(), 2);
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Connect));
    assert_eq!(second.counts().total(), 2);
}

#[tokio::test]
async fn another_endpoint_is_no_help_against_absence() {
    let first = origin(Origin::builder()).await;
    let second = origin(Origin::builder()).await;
    let upstream = set_up(settings(&[&first.registry_url(), &second.registry_url()]));
    let (_, layer) = manifest_and_layer(&second);
    first.edit(super::NAME, |repository| {
        repository.remove_blob(&repository_digest(&second));
    });
    let error = upstream.get_blob(&name(), &layer, None).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::NotFound {
            code: ErrorCode::BlobUnknown
        }
    );
    assert_eq!(second.counts().total(), 0);
}

fn repository_digest(origin: &Origin) -> forebay_loadtest::origin::Digest {
    origin.image(super::NAME, "latest").manifests[0].layers[0]
        .digest
        .clone()
}

#[tokio::test]
async fn a_blob_store_in_trouble_is_trouble() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    let (_, layer) = manifest_and_layer(&origin);
    origin.stop_server(Server::Cdn).await;
    let error = upstream.get_blob(&name(), &layer, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Connect));
    assert!(error.is_trouble());
    origin.start_server(Server::Cdn).await.unwrap();
    origin.on(Kind::CdnGet).always(Fault::status(503));
    let error = upstream.get_blob(&name(), &layer, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Status(503)));
}

/// Once a registry is known to be dead, hardly anybody is sent there; once it is back, everybody gets an answer.
#[tokio::test]
async fn a_registry_that_keeps_failing_is_left_alone_for_a_moment() {
    let origin = origin(Origin::builder()).await;
    let upstream = upstream_of(&origin);
    origin.on(Kind::ManifestHead).always(Fault::status(503));
    let everybody = || async {
        let (name, latest) = (name(), latest());
        let heads = (0..50).map(|_| upstream.head_manifest(&name, &latest));
        let answers = futures_util::future::join_all(heads).await;
        answers.iter().filter(|answer| answer.is_ok()).count()
    };
    assert_eq!(everybody().await, 0);
    origin.reset();
    assert_eq!(everybody().await, 0);
    let asked = count(&origin, Kind::ManifestHead);
    assert!(asked < 25, "{asked} of 50 were sent to a dead registry");

    origin.clear_faults();
    while upstream.head_manifest(&name(), &latest()).await.is_err() {}
    assert_eq!(everybody().await, 50);
}

/// What another endpoint lacks is not absent, while the one that would know is away.
#[tokio::test]
async fn absence_at_another_endpoint_is_trouble_while_the_first_is_away() {
    let first = origin(Origin::builder()).await;
    let empty = Origin::builder().start().await.unwrap();
    let (digest, _) = manifest_and_layer(&first);
    let upstream = set_up(settings(&[&first.registry_url(), &empty.registry_url()]));
    first.stop().await;
    for _ in 0..4 {
        let by_digest = Reference::Digest(digest);
        let error = upstream.get_manifest(&name(), &by_digest).await;
        let error = error.unwrap_err();
        assert!(error.is_trouble(), "{error}");
    }
    assert!(count(&empty, Kind::ManifestGet) >= 4);
}

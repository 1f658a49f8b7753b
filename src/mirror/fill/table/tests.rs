//! Who starts a fill, and who may not.

use forebay_loadtest::origin::{Fault, Origin};

use super::*;
use crate::access::Permit;
use crate::mirror::tests::{Bench, app, waiter};
use crate::mirror::{MirrorError, Wanted};
use crate::store::Faults;

/// A request looked at the quarantine before two fetches of wrong bytes were through, and at the table after: it found
/// neither, and started a third. Here its second look is all there is of it.
#[tokio::test]
async fn who_looked_at_the_quarantine_too_early_starts_no_third_fetch() {
    let mut blob = None;
    let builder = Origin::builder().repository("library/app", |repository| {
        blob = Some(repository.random_blob(1, 1000));
    });
    let origin = builder.start().await.unwrap();
    let blob = blob.unwrap();
    origin.on_body(&blob.digest).always(Fault::FlipBit(0));
    let bench = Bench::start(&origin, ["", ""], Faults::none()).await;
    let digest = blob.digest.as_str().parse().unwrap();
    let asked = app();
    let permit = Permit::for_tests(&asked);
    let answer = bench
        .mirror
        .blob(&permit, &digest, None, Wanted::Body, waiter());
    let refused = answer.await.unwrap_err();
    assert!(
        matches!(refused, MirrorError::BadUpstream { .. }),
        "{refused}"
    );
    let bodies = || origin.requests().iter().filter(|it| it.is_body()).count();
    assert_eq!(bodies(), 2, "a fetch and one that started over");

    let fills = &bench.mirror.inner.fills;
    assert!(!fills.is_running(&digest));
    let source = Source {
        upstream: Arc::clone(&bench.upstream),
        name: asked.name.clone(),
        size: None,
    };
    let joined = fills.join(digest, source, None);
    assert_eq!(joined.err(), Some(NotStarted::Quarantined));
    assert!(!fills.is_running(&digest));
    assert_eq!(bodies(), 2);
}

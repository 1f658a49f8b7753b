//! What is known of rights, and when it is written down, against a real store and a scripted upstream.

use std::time::Duration;

use forebay_loadtest::origin::{
    Auth, Fault, ImageSpec, Kind as Path, Origin, Repository as Holding,
};
use futures_util::poll;
use tokio::time::{Instant, timeout};

use super::*;
use crate::config::Config;
use crate::mirror::tests::{Bench, repository};
use crate::oci::{Algorithm, Verified};
use crate::store::Faults;
use crate::upstream::{Priority, Upstreams};

const BODY: &[u8] = b"a blob of a private repository";
const LOGIN: &str = "username = \"ci\"\npassword = \"secret\"";

/// A mirror with a login at an origin where `team/one` and `team/two` are private; `team/one` holds the blob.
async fn private_blob() -> (Origin, Bench, Arc<Rights>) {
    let builder = Origin::docker_hub()
        .auth(Auth::token())
        .user("ci", "secret")
        .repository("team/one", |repository| {
            repository.private();
            repository.blob(BODY)
        })
        .repository("team/two", Holding::private);
    let origin = builder.start().await.unwrap();
    let bench = Bench::start(&origin, ["", LOGIN], Faults::none()).await;
    let rights = Arc::clone(&bench.mirror.inner.rights);
    (origin, bench, rights)
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, BODY)
}

fn verified() -> Verified {
    digest().verify(BODY).unwrap()
}

async fn prove(bench: &Bench, rights: &Arc<Rights>, name: &str) {
    let name = repository(name).name;
    let caller = Caller::impatient(Priority::Client);
    let proven = rights
        .prove(&bench.upstream, &name, Kind::Blob, &digest(), &caller)
        .await;
    proven.unwrap();
}

async fn store(bench: &Bench) {
    let stored = bench.store.put(verified(), BODY.into(), None).await;
    stored.unwrap();
}

async fn is_written_down(bench: &Bench, name: &str) -> bool {
    let repository = repository(name);
    let (registry, name) = (&repository.registry, &repository.name);
    let everyone = Audience::Everyone;
    let link = bench
        .store
        .has_link(registry, name, &digest(), everyone)
        .await;
    link.unwrap().is_some()
}

/// Each HEAD of a blob that was never fetched cost an index transaction, and left a link for a sweep to remove.
#[tokio::test]
async fn a_proof_is_written_down_only_when_its_digest_is_stored() {
    let (_origin, bench, rights) = private_blob().await;
    let (one, two) = (repository("team/one"), repository("team/two"));
    prove(&bench, &rights, "team/one").await;
    assert!(
        rights
            .known(&bench.upstream, &one, &digest())
            .await
            .is_some()
    );
    assert!(
        rights
            .known(&bench.upstream, &two, &digest())
            .await
            .is_none()
    );
    assert!(!is_written_down(&bench, "team/one").await);

    store(&bench).await;
    rights.persist(&digest()).await;
    assert!(
        is_written_down(&bench, "team/one").await,
        "the fill writes it"
    );
}

#[tokio::test]
async fn a_proof_of_what_is_stored_is_written_down_at_once() {
    let (_origin, bench, rights) = private_blob().await;
    store(&bench).await;
    prove(&bench, &rights, "team/one").await;
    assert!(is_written_down(&bench, "team/one").await);
}

/// A source that served wrong bytes kept the right that its answer seemed to give, and another client's proof wrote it
/// down.
#[tokio::test]
async fn what_a_fill_has_learned_holds_while_it_runs_and_stays_only_when_its_bytes_are_proven() {
    let (_origin, bench, rights) = private_blob().await;
    let (one, two) = (repository("team/one"), repository("team/two"));
    let learn = || rights.provisional(&bench.upstream, &two.name, &digest(), Access::Credentialed);
    let (first, second) = (learn(), learn());
    assert!(
        rights
            .remembered(&bench.upstream, &two, &digest())
            .is_some()
    );
    assert!(
        rights
            .remembered(&bench.upstream, &one, &digest())
            .is_none()
    );

    // Meanwhile somebody proves another repository's right, of a digest that is stored.
    store(&bench).await;
    prove(&bench, &rights, "team/one").await;
    assert!(!is_written_down(&bench, "team/two").await);

    drop(first);
    assert!(
        rights
            .remembered(&bench.upstream, &two, &digest())
            .is_some(),
        "another holds it"
    );
    drop(second);
    assert!(
        rights
            .remembered(&bench.upstream, &two, &digest())
            .is_none()
    );
    assert!(
        rights
            .remembered(&bench.upstream, &one, &digest())
            .is_some(),
        "a proof stays"
    );

    rights.confirm(vec![learn()]);
    assert!(
        rights
            .remembered(&bench.upstream, &two, &digest())
            .is_some()
    );
    rights.persist(&digest()).await;
    assert!(is_written_down(&bench, "team/two").await);
}

/// What was public by a configuration was so for as long as the process ran, whatever it was told on a reload.
#[tokio::test]
async fn what_is_public_by_the_configuration_is_so_for_as_long_as_that_says_it() {
    let (origin, bench, rights) = private_blob().await;
    let (one, two) = (repository("team/one"), repository("team/two"));
    let upstream = |lines: &str| {
        let text = format!(
            "[upstreams.\"docker.io\"]\nendpoints = [{:?}]\nallow_private = true\n{LOGIN}\n{lines}",
            origin.registry_url(),
        );
        let upstreams = Upstreams::new(&Config::from_toml(&text).unwrap()).unwrap();
        upstreams.get(&one.registry).unwrap()
    };
    let public = upstream("public = ['team/one']");
    let known = async |upstream: &Upstream, repository| {
        let digest = digest();
        let known = rights.known(upstream, repository, &digest);
        known.await.is_some()
    };
    store(&bench).await;
    let digest = digest();
    rights.remember(
        &public,
        &one.name,
        Kind::Blob,
        &digest,
        Access::Credentialed,
    );
    rights.persist(&digest).await;
    assert!(known(&public, &one).await && known(&public, &two).await);
    assert!(known(&bench.upstream, &one).await && !known(&bench.upstream, &two).await);
    let other = upstream("public = ['team/other']");
    assert!(known(&other, &one).await && !known(&other, &two).await);
    assert!(
        known(&upstream("public = ['team/o*']"), &two).await,
        "written down"
    );
}

#[tokio::test]
async fn what_a_clients_login_has_learned_counts_where_each_client_logs_in() {
    let (origin, bench, rights) = private_blob().await;
    let (one, digest) = (repository("team/one"), digest());
    let text = format!(
        "[upstreams.\"docker.io\"]\nendpoints = [{:?}]\nallow_private = true\naccess = 'passthrough'",
        origin.registry_url(),
    );
    let upstreams = Upstreams::new(&Config::from_toml(&text).unwrap()).unwrap();
    let logins = upstreams.get(&one.registry).unwrap();
    let remembered = |upstream| rights.remembered(upstream, &one, &digest).is_some();
    let provisional = rights.provisional(&logins, &one.name, &digest, Access::Credentialed);
    assert!(remembered(&logins) && !remembered(&bench.upstream));
    rights.confirm(vec![provisional]);
    assert!(remembered(&logins) && !remembered(&bench.upstream));
    // The other way round there is no harm: each login has to prove its right first.
    prove(&bench, &rights, "team/one").await;
    assert!(remembered(&logins) && remembered(&bench.upstream));
}

#[tokio::test]
async fn what_is_never_stored_is_forgotten_in_the_end() {
    let (_origin, bench, rights) = private_blob().await;
    let name = repository("team/one").name;
    let nth = |n: u64| Digest::of(Algorithm::Sha256, &n.to_le_bytes());
    for n in 0..2 * UNWRITTEN {
        rights.remember(
            &bench.upstream,
            &name,
            Kind::Blob,
            &nth(n),
            Access::Credentialed,
        );
    }
    rights.unwritten.run_pending_tasks();
    assert!(rights.unwritten.weighted_size() <= UNWRITTEN);
    assert!(rights.unwritten.contains_key(&nth(2 * UNWRITTEN - 1)));
}

/// A mirror whose only pull for an hour is spent, at an origin where HEAD is refused, so that a proof takes a pull.
async fn no_pull_left() -> (Origin, Bench, Digest) {
    let builder = Origin::builder().repository("library/app", |repository| {
        repository.image("v1", &ImageSpec::default());
    });
    let origin = builder.start().await.unwrap();
    origin.on(Path::ManifestHead).always(Fault::status(405));
    let bench = Bench::start(&origin, ["", "quota = \"1/1h\""], Faults::none()).await;
    let digest = origin.image("library/app", "v1").root.digest;
    let digest = digest.to_string().parse().unwrap();
    prove_manifest(&bench, &digest, &impatient()).await.unwrap();
    (origin, bench, digest)
}

fn impatient() -> Caller {
    Caller::impatient(Priority::Client)
}

fn patient() -> Caller {
    Caller::client(None, Instant::now() + Duration::from_hours(2))
}

async fn prove_manifest(
    bench: &Bench,
    digest: &Digest,
    caller: &Caller,
) -> Result<(Granted, Option<u64>), MirrorError> {
    let name = repository("library/app").name;
    let rights = &bench.mirror.inner.rights;
    let proof = rights.prove(&bench.upstream, &name, Kind::Manifest, digest, caller);
    proof.await
}

async fn until_waiting(bench: &Bench, waiting: usize) {
    let name = repository("library/app").name;
    let until = async {
        while bench.upstream.quota(&name).unwrap().waiting != waiting {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), until).await.unwrap();
}

/// One that waited for its turn went on waiting when nobody wanted it any more.
#[tokio::test]
async fn a_proof_that_waits_for_a_pull_ends_with_its_last_client() {
    let (_origin, bench, digest) = no_pull_left().await;
    let caller = patient();
    let mut first = Box::pin(prove_manifest(&bench, &digest, &caller));
    let mut second = Box::pin(prove_manifest(&bench, &digest, &caller));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    until_waiting(&bench, 1).await;
    drop((first, second));
    until_waiting(&bench, 0).await;
}

/// Whoever had joined a proof that did not wait was refused with it.
#[tokio::test]
async fn who_has_joined_a_proof_of_less_patience_waits_for_a_pull_itself() {
    let (_origin, bench, digest) = no_pull_left().await;
    let (first, second) = (impatient(), patient());
    let mut first = Box::pin(prove_manifest(&bench, &digest, &first));
    let mut second = Box::pin(prove_manifest(&bench, &digest, &second));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    let error = first.await.expect_err("there is no pull");
    assert!(
        matches!(error, MirrorError::TooManyRequests { .. }),
        "{error}"
    );
    tokio::select! {
        _ = second => panic!("it waits"),
        () = until_waiting(&bench, 1) => {}
    }
}

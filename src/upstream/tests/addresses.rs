//! The address policy, on real connections.

use forebay_loadtest::origin::{Fault, Kind, Origin};

use super::{configured, count, latest, manifest_and_layer, name, origin, set_up, settings};
use crate::config;
use crate::upstream::{ErrorKind, Upstreams};

fn strict(origin: &Origin) -> config::Upstream {
    config::Upstream {
        allow_private: false,
        ..settings(&[&origin.registry_url()])
    }
}

#[tokio::test]
async fn the_configured_endpoint_is_exempt_to_the_letter() {
    let origin = origin(Origin::builder()).await;
    let upstream = set_up(strict(&origin));
    upstream.get_manifest(&name(), &latest()).await.unwrap();
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused_and_never_dialled() {
    let origin = origin(Origin::builder().blobs(forebay_loadtest::origin::Blobs::redirect())).await;
    let upstream = set_up(strict(&origin));
    let (_, layer) = manifest_and_layer(&origin);
    let error = upstream.get_blob(&name(), &layer, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert!(error.to_string().contains("allow_private"), "{error}");
    assert_eq!(count(&origin, Kind::CdnGet), 0);
}

#[tokio::test]
async fn every_spelling_of_a_private_address_is_refused() {
    let origin = origin(Origin::builder()).await;
    let upstream = set_up(strict(&origin));
    let port = origin.cdn_url().rsplit_once(':').unwrap().1.to_owned();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "[64:ff9b::7f00:1]",
        "localhost",
        "LOCALHOST.",
        "0.0.0.0",
        "169.254.169.254",
    ] {
        origin.clear_faults();
        origin
            .on(Kind::ManifestGet)
            .always(Fault::redirect_to(&format!("http://{host}:{port}/x")));
        let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Policy, "{host}: {error}");
    }
    assert_eq!(
        count(&origin, Kind::CdnGet) + count(&origin, Kind::Other),
        0
    );
}

#[tokio::test]
async fn other_schemes_and_logins_in_redirects_are_refused() {
    let origin = origin(Origin::builder()).await;
    let upstream = set_up(strict(&origin));
    for target in [
        "file:///etc/passwd",
        "ftp://a.io/x",
        "http://user:pass@a.io/",
    ] {
        origin.clear_faults();
        origin
            .on(Kind::ManifestGet)
            .always(Fault::redirect_to(target));
        let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Policy, "{target}: {error}");
    }
}

#[tokio::test]
async fn a_member_that_is_no_host_is_refused_without_a_request() {
    let family = config::Upstream {
        registry: "1.2.3.*".parse().unwrap(),
        ..settings(&[])
    };
    let upstreams = Upstreams::new(&configured(vec![family])).unwrap();
    let member = upstreams.get(&"1.2.3.999".parse().unwrap()).unwrap();
    let error = member.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
}

#[test]
fn the_members_that_clients_bring_into_being_are_bounded() {
    let family = config::Upstream {
        registry: "*.example.com".parse().unwrap(),
        ..settings(&[])
    };
    let upstreams = Upstreams::new(&configured(vec![family])).unwrap();
    let member = |number: u32| {
        upstreams
            .get(&format!("m{number}.example.com").parse().unwrap())
            .unwrap()
    };
    let first = std::sync::Arc::downgrade(&member(0));
    for number in 1..2_000 {
        member(number);
    }
    assert!(first.upgrade().is_none(), "the first has made room");
}

#[tokio::test]
async fn a_member_of_a_family_is_not_exempt() {
    // Whoever owns a name in the family could point it here.
    let family = config::Upstream {
        registry: "*.localhost".parse().unwrap(),
        allow_private: false,
        ..settings(&[])
    };
    let upstreams = Upstreams::new(&configured(vec![family])).unwrap();
    let member = upstreams.get(&"a.localhost".parse().unwrap()).unwrap();
    let error = member.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert!(upstreams.get(&"a.example.com".parse().unwrap()).is_none());
    let again = upstreams.get(&"a.localhost".parse().unwrap()).unwrap();
    assert!(
        std::sync::Arc::ptr_eq(&member, &again),
        "one upstream a registry"
    );
}

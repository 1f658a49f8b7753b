//! Passwords, tokens and signed queries are seen by those whom they are for and by nobody else: not in the log at its most
//! talkative, not in metrics, not in what clients are told when things fail, not in what `check` prints.

use std::collections::BTreeSet;

use forebay_loadtest::origin::{Fault, Kind, Reply, Server};

use super::profile::{Cloud, SITES, Site};
use crate::harness::{Answer, Forebay, assert_unseen, logins, secrets_of};

impl Site {
    /// Every password, token and signature that has come by.
    fn secrets(&self) -> BTreeSet<String> {
        let mut secrets = secrets_of(&self.origin);
        let own = self.cloud.iter().flat_map(Cloud::secrets);
        secrets.extend(own.map(|&secret| secret.to_owned()));
        secrets
    }

    /// Where blobs' bytes come from.
    fn body_kind(&self) -> Kind {
        if self.is_direct() {
            Kind::BlobGet
        } else {
            Kind::CdnGet
        }
    }

    /// Has everything fail that can, and returns what the client was told.
    async fn failures(&self, forebay: &Forebay) -> Vec<Answer> {
        let image = self.image("v2");
        let mut layers = image.linux("amd64").layers.iter();
        let mut layer = || format!("blobs/{}", layers.next().expect("one more").digest);
        let mut answers = Vec::new();

        // The store refuses what the registry signed, then it is away.
        let refused = Reply::xml_error(403, "SignatureDoesNotMatch");
        let fault = self
            .origin
            .on(self.body_kind())
            .always(Fault::Answer(refused));
        answers.push(self.ask(forebay, &layer()).await);
        fault.remove();
        self.origin.stop_server(Server::Cdn).await;
        answers.push(self.ask(forebay, &layer()).await);
        self.origin.start_server(Server::Cdn).await.unwrap();

        // The registry, then its token service, repeat the logins that they were told, whole and cut short. What nobody
        // needs a password for is no secret.
        let kinds = [Kind::ManifestGet, Kind::Token];
        for kind in kinds.into_iter().filter(|_| self.profile.user.is_some()) {
            let mut secrets = logins(&self.origin, kind);
            if kind == Kind::Token {
                secrets.extend(self.origin.refresh_tokens());
            }
            for (number, secret) in secrets.into_iter().enumerate() {
                for padding in [0, 220] {
                    let words = format!("{}{secret}", "-".repeat(padding));
                    let reply = Reply::error(403, "DENIED", &words);
                    let fault = self.origin.on(kind).always(Fault::Answer(reply));
                    if kind == Kind::Token {
                        self.origin.expire_tokens();
                    }
                    let tag = format!("manifests/{kind:?}-{number}-{padding}").to_lowercase();
                    answers.push(self.ask(forebay, &tag).await);
                    fault.remove();
                }
            }
        }

        // The login is good no more.
        if let Some(user) = self.profile.user {
            self.origin.set_password(user, "another");
            self.origin.expire_tokens();
            answers.push(self.ask(forebay, "manifests/v2").await);
        }
        answers
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_any_registry_is_seen_anywhere() {
    for name in SITES {
        let site = Site::named(name).await;
        let setup = site.mirror();
        let mut seen = vec![("check", setup.checked().await)];
        let forebay = setup.start().await;
        site.pull(&forebay, "v1").await;
        for answer in site.failures(&forebay).await {
            let told = format!("{} {:?} {}", answer.status, answer.headers, answer.text());
            seen.push(("an answer", told));
        }
        seen.push(("metrics", forebay.admin().get("/metrics").await.text()));
        seen.push(("the log", forebay.log()));
        let secrets = site.secrets();
        assert!(site.is_direct() || secrets.len() > 3, "{name}: {secrets:?}");
        for (place, text) in &seen {
            assert_unseen(&secrets, &format!("{place} of {name}"), text);
        }
    }
}

//! An upstream at which each client logs in for itself: there is no login here to try, so that what can be told is what
//! clients' logins will meet.

use super::greeting::{Asked, Greeting};
use super::{Finding, Image, Probe, Step};
use crate::upstream::challenge::Challenge;
use crate::upstream::error::{ErrorKind, UpstreamError};
use crate::upstream::transport::host_of;

const WHO: &str = "each client logs in for itself (`access`)";

impl Probe<'_> {
    /// Whether clients' logins count here, and not the mirror's own.
    pub(super) fn is_for_clients(&self) -> bool {
        self.settings.passthrough.is_some()
    }

    /// Where clients' logins will be shown, as far as that can be seen without one.
    pub(super) async fn logins_of_clients(&self, greeting: &Greeting) -> Finding {
        let Some(Asked { challenge, refusal }) = &greeting.asks else {
            let seen = format!("{WHO}, and GET /v2/ asks for no login");
            return Finding::note(Step::Login, seen).change(
                "see that this is the registry itself: what a mirror or a proxy before it lets everybody see, every login \
                 of a client is believed to",
            );
        };
        let Challenge::Bearer(bearer) = challenge else {
            return Finding::good(Step::Login, format!("{WHO}, with a password"));
        };
        let service = host_of(&bearer.realm);
        match self.meet(refusal).await {
            Ok(_) => Finding::good(Step::Login, format!("{WHO}; {service} gives tokens")),
            // Nobody's login is refused, as it may be.
            Err(error) if is_refusal(&error) => {
                Finding::good(Step::Login, format!("{WHO}; {service} answers"))
            }
            Err(error) => self.no_token(&error),
        }
    }

    /// What it says of an image that it is not to be pulled without a login. The registry's own words, and what they would
    /// have the mirror's configuration say, are of no use to anyone here.
    pub(super) fn without_login(&self, image: &Image, error: &UpstreamError) -> Option<Finding> {
        let is_hidden = matches!(error.kind(), ErrorKind::NotFound { .. });
        (self.is_for_clients() && (is_hidden || is_refusal(error))).then(|| {
            let seen = format!("{image}: not without a login, or there is no such image");
            Finding::note(Step::Image, seen)
                .change("pull it through the mirror with a client's login")
        })
    }
}

fn is_refusal(error: &UpstreamError) -> bool {
    matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied)
}

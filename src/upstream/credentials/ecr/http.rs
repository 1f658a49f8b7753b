//! The one HTTP client, as AWS's library wants to see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::StatusCode;

use crate::upstream::credentials::cloud::Cloud;

/// Sends what the chain asks of tokens' and metadata's services.
#[derive(Debug, Clone)]
pub(super) struct SmithyClient {
    cloud: Cloud,
    /// Whether the last answer was a no.
    refused: Arc<AtomicBool>,
}

impl SmithyClient {
    pub(super) fn new(cloud: Cloud) -> SmithyClient {
        SmithyClient {
            cloud,
            refused: Arc::default(),
        }
    }

    /// Whether the last service that was asked said no to whoever asked: an identity that is unknown or expired, or that may
    /// not have this role.
    pub(super) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Services of Amazon's say with 400 too that they are asked too often or can't reach somebody.
fn is_refusal(answer: &http::Response<Bytes>) -> bool {
    const TROUBLES: [&str; 3] = ["Throttl", "RequestLimitExceeded", "IDPCommunicationError"];
    let status = answer.status();
    let says_no = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    );
    let said = String::from_utf8_lossy(answer.body());
    says_no && !TROUBLES.iter().any(|trouble| said.contains(trouble))
}

impl HttpClient for SmithyClient {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for SmithyClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let SmithyClient { cloud, refused } = self.clone();
        HttpConnectorFuture::new(async move {
            let user = |error| ConnectorError::user(Box::new(error));
            let request = request.try_into_http1x().map_err(user)?;
            let request = request.map(|body| Bytes::copy_from_slice(body.bytes().unwrap_or(&[])));
            refused.store(false, Ordering::Relaxed);
            let answer = cloud.send(request).await;
            let answer = answer.map_err(|what| ConnectorError::io(what.into()))?;
            refused.store(is_refusal(&answer), Ordering::Relaxed);
            Response::try_from(answer.map(SdkBody::from)).map_err(user)
        })
    }
}

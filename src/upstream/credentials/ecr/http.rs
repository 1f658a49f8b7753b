//! The one HTTP client, as AWS's library wants to see it.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use crate::upstream::credentials::cloud::Cloud;

/// Sends what the chain asks of tokens' and metadata's services.
#[derive(Debug, Clone)]
pub(super) struct SmithyClient(Cloud);

impl SmithyClient {
    pub(super) fn new(cloud: Cloud) -> SmithyClient {
        SmithyClient(cloud)
    }
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
        let cloud = self.0.clone();
        HttpConnectorFuture::new(async move {
            let user = |error| ConnectorError::user(Box::new(error));
            let request = request.try_into_http1x().map_err(user)?;
            let request = request.map(|body| Bytes::copy_from_slice(body.bytes().unwrap_or(&[])));
            let answer = cloud.send(request).await;
            let answer = answer.map_err(|what| ConnectorError::io(what.into()))?;
            Response::try_from(answer.map(SdkBody::from)).map_err(user)
        })
    }
}

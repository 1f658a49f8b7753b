//! What a certificate says beyond what TLS needs: until when it is valid, and whose it is.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::http::PeerCertificate;

/// When the first of `chain` to go is no longer valid.
pub(super) fn expires(chain: &[CertificateDer<'_>]) -> Result<SystemTime, String> {
    let ends = chain.iter().map(|certificate| {
        let certificate = parse(certificate)?;
        let validity = certificate.tbs_certificate().validity();
        Ok(validity.not_after.to_system_time())
    });
    let ends = ends.collect::<Result<Vec<_>, String>>()?;
    ends.into_iter().min().ok_or_else(|| "it is empty".into())
}

/// Whose a certificate is that has been verified. `None` where it can't be read: then nobody is known by it.
pub(super) fn of_client(certificate: &CertificateDer<'_>) -> Option<PeerCertificate> {
    let names = parse(certificate).and_then(|certificate| names(&certificate));
    match names {
        Ok(names) => Some(PeerCertificate::new(names)),
        Err(error) => {
            tracing::warn!(%error, "a client's certificate is valid, but its names can't be read; it counts as none");
            None
        }
    }
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, String> {
    Certificate::from_der(certificate).map_err(|error| format!("not a certificate: {error}"))
}

fn names(certificate: &Certificate) -> Result<Vec<String>, String> {
    let certificate = certificate.tbs_certificate();
    let others = certificate
        .get_extension::<SubjectAltName>()
        .map_err(|error| format!("its alternative names: {error}"))?;
    let others = others.map(|(_, others)| others.0).unwrap_or_default();
    let mut names: Vec<_> = others.iter().filter_map(text).map(str::to_owned).collect();
    let common = certificate
        .subject()
        .common_name()
        .map_err(|error| format!("its subject's common name: {error}"))?;
    names.extend(common.map(|common| common.value().into_owned()));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
    Ok(names)
}

fn text(name: &GeneralName) -> Option<&str> {
    match name {
        GeneralName::Rfc822Name(text)
        | GeneralName::DnsName(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.as_str()),
        _ => None,
    }
}

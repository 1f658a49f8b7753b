//! What a certificate says beyond what TLS needs: until when it is valid, and whose it is.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::http::PeerCertificate;

/// Bytes of a name that counts.
const LONGEST: usize = 1024;

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

/// When the first of `chain` to go after `now` is no longer valid, if that can be told.
pub(super) fn end(chain: &[CertificateDer<'_>], now: SystemTime) -> Option<SystemTime> {
    let ends = chain.iter().filter_map(|certificate| {
        let certificate = parse(certificate).ok()?;
        let validity = certificate.tbs_certificate().validity();
        Some(validity.not_after.to_system_time())
    });
    ends.filter(|end| *end > now).min()
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

/// Those that an authority has looked at: where it says whose a certificate is in the alternative names, it may have left
/// the subject to whoever asked for it.
fn names(certificate: &Certificate) -> Result<Vec<String>, String> {
    let certificate = certificate.tbs_certificate();
    let others = certificate
        .get_extension::<SubjectAltName>()
        .map_err(|error| format!("its alternative names: {error}"))?;
    let mut names: Vec<_> = if let Some((_, others)) = others {
        others.0.iter().filter_map(alternative).collect()
    } else {
        let common = certificate
            .subject()
            .common_name()
            .map_err(|error| format!("its subject's common name: {error}"))?;
        let common = common.map(|common| common.value().into_owned());
        common.as_deref().and_then(unprefixed).into_iter().collect()
    };
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

fn alternative(name: &GeneralName) -> Option<String> {
    let prefixed = |kind: &str, name: &str| is_clean(name).then(|| format!("{kind}:{name}"));
    match name {
        GeneralName::DnsName(name) => unprefixed(name.as_str()),
        GeneralName::Rfc822Name(address) => prefixed("email", address.as_str()),
        GeneralName::UniformResourceIdentifier(uri) => prefixed("uri", uri.as_str()),
        _ => None,
    }
}

/// A name without a kind before it, in the case that it is compared in. None that could be taken for one with a kind.
fn unprefixed(name: &str) -> Option<String> {
    (is_clean(name) && !name.contains(':')).then(|| name.to_ascii_lowercase())
}

/// Whether it can stand in a log.
fn is_clean(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use forebay_loadtest::certificates::{Authority, SanType};
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn names_of(common: &str, others: Vec<SanType>) -> Vec<String> {
        let pair = Authority::new("clients").client_with(common, others);
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes());
        of_client(&certificate.unwrap()).unwrap().names().to_vec()
    }

    #[test]
    fn each_name_says_of_which_kind_it_is() {
        let others = vec![
            SanType::DnsName("CI.Example.org".try_into().unwrap()),
            SanType::Rfc822Name("Bob@example.org".try_into().unwrap()),
            SanType::URI("spiffe://a/Ci".try_into().unwrap()),
            SanType::DnsName("ci.example.org".try_into().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
        ];
        let names = names_of("alice", others);
        assert_eq!(
            names,
            [
                "ci.example.org",
                "email:Bob@example.org",
                "uri:spiffe://a/Ci"
            ]
        );
    }

    #[test]
    fn a_subjects_name_counts_only_where_there_is_no_other_kind_of_name() {
        assert_eq!(names_of("Alice", vec![]), ["alice"]);
        let address = SanType::IpAddress("192.0.2.1".parse().unwrap());
        assert!(names_of("alice", vec![address]).is_empty());
    }

    #[test]
    fn a_name_that_pretends_to_be_of_another_kind_is_none() {
        assert!(names_of("email:bob@example.org", vec![]).is_empty());
        let pretending = SanType::DnsName("uri:spiffe://a/ci".try_into().unwrap());
        assert!(names_of("alice", vec![pretending]).is_empty());
        assert!(names_of("a\nb", vec![]).is_empty());
    }
}

//! The hosts of Amazon ECR's private registries, which say whose they are and where.

use url::Url;

use crate::oci::Registry;

/// The domains of AWS's partitions: the one of all hosts, and that of those that have IPv6 too.
const PARTITIONS: [&[&str]; 7] = [
    &["amazonaws.com", "on.aws"],
    &["amazonaws.com.cn", "on.amazonwebservices.com.cn"],
    &["amazonaws.eu"],
    &["sc2s.sgov.gov"],
    &["c2s.ic.gov"],
    &["cloud.adc-e.uk"],
    &["csp.hci.ic.gov"],
];
/// What stands between account and region.
const SERVICES: [(&str, bool); 4] = [
    ("dkr.ecr", false),
    ("dkr-ecr", false),
    ("dkr.ecr-fips", true),
    ("dkr-ecr-fips", true),
];

/// `<account>.dkr.ecr[-fips].<region>.<domain>`, with `dkr-ecr` for `dkr.ecr` too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrHost {
    /// Twelve digits.
    pub account: String,
    /// Such as `eu-west-1`.
    pub region: String,
    fips: bool,
    domain: &'static str,
    partition: &'static [&'static str],
}

impl EcrHost {
    /// Takes a host apart; `None` if it is none of ECR's.
    pub fn of(registry: &Registry) -> Option<EcrHost> {
        if registry.port().is_some() {
            return None;
        }
        let (account, rest) = registry.host().split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let of = |(service, fips): (&str, bool)| {
            let rest = rest.strip_prefix(service)?.strip_prefix('.')?;
            Some((fips, rest.split_once('.')?))
        };
        let (fips, (region, domain)) = SERVICES.into_iter().find_map(of)?;
        let of = |partition: &'static [&'static str]| {
            let mut domains = partition.iter();
            Some((partition, *domains.find(|known| **known == domain)?))
        };
        let (partition, domain) = PARTITIONS.into_iter().find_map(of)?;
        (!region.is_empty()).then(|| EcrHost {
            account: account.to_owned(),
            region: region.to_owned(),
            fips,
            domain,
            partition,
        })
    }

    /// Every name of the registry whose name this is, this one among them.
    pub fn names(&self) -> impl Iterator<Item = Registry> {
        let Self {
            account, region, ..
        } = self;
        let name = move |domain: &str, service: &str| {
            format!("{account}.{service}.{region}.{domain}")
                .parse()
                .ok()
        };
        let domains = self.partition.iter();
        domains.flat_map(move |domain| {
            let services = SERVICES.into_iter();
            services.filter_map(move |(service, _)| name(domain, service))
        })
    }

    /// Where the region's API is. A registry whose host has IPv6 has an API whose host has it. `None` where no host has
    /// such a name: of a family's members, clients say the region.
    pub fn api(&self) -> Option<Url> {
        let region = &self.region;
        let service = if self.fips { "ecr-fips" } else { "ecr" };
        let host = match self.domain.strip_prefix("on.") {
            Some(domain) => format!("{service}.{region}.api.{domain}"),
            None if self.fips => format!("{service}.{region}.{}", self.domain),
            None => format!("api.{service}.{region}.{}", self.domain),
        };
        Url::parse(&format!("https://{host}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> Option<EcrHost> {
        EcrHost::of(&host.parse().unwrap())
    }

    #[test]
    fn each_form_of_host_leads_to_its_own_api() {
        for (host, region, api) in [
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "eu-west-1",
                "https://api.ecr.eu-west-1.amazonaws.com/",
            ),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
                "https://ecr-fips.us-gov-west-1.amazonaws.com/",
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                "https://api.ecr.cn-north-1.amazonaws.com.cn/",
            ),
            (
                "123456789012.dkr-ecr.us-east-2.on.aws",
                "us-east-2",
                "https://ecr.us-east-2.api.aws/",
            ),
            (
                "123456789012.dkr-ecr-fips.us-east-2.on.aws",
                "us-east-2",
                "https://ecr-fips.us-east-2.api.aws/",
            ),
            (
                "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
                "cn-north-1",
                "https://ecr.cn-north-1.api.amazonwebservices.com.cn/",
            ),
            (
                "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
                "eusc-de-east-1",
                "https://api.ecr.eusc-de-east-1.amazonaws.eu/",
            ),
        ] {
            let found = of(host).unwrap_or_else(|| panic!("{host}"));
            assert_eq!(found.account, "123456789012");
            assert_eq!(found.region, region, "{host}");
            assert_eq!(found.api().unwrap().as_str(), api, "{host}");
        }
        let odd = of("123456789012.dkr.ecr.xn--a.amazonaws.com").unwrap();
        assert_eq!(odd.api(), None);
    }

    #[test]
    fn a_registry_has_one_set_of_names_whichever_is_asked_for_them() {
        let names = |host: &str| {
            let mut names: Vec<_> = of(host).unwrap().names().collect();
            names.sort();
            names
        };
        let all = names("123456789012.dkr.ecr.eu-west-1.amazonaws.com");
        let written: Vec<_> = all.iter().map(Registry::as_str).collect();
        assert_eq!(
            written,
            [
                "123456789012.dkr-ecr-fips.eu-west-1.amazonaws.com",
                "123456789012.dkr-ecr-fips.eu-west-1.on.aws",
                "123456789012.dkr-ecr.eu-west-1.amazonaws.com",
                "123456789012.dkr-ecr.eu-west-1.on.aws",
                "123456789012.dkr.ecr-fips.eu-west-1.amazonaws.com",
                "123456789012.dkr.ecr-fips.eu-west-1.on.aws",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "123456789012.dkr.ecr.eu-west-1.on.aws",
            ]
        );
        for name in &written {
            assert_eq!(names(name), all, "{name}");
        }
        for other in [
            "210987654321.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-2.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn",
        ] {
            assert!(
                names(other).iter().all(|name| !all.contains(name)),
                "{other}"
            );
        }
    }
}

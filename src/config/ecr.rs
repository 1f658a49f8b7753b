//! The hosts of Amazon ECR's private registries, which say whose they are and where.

use url::Url;

use crate::oci::Registry;

/// The domains of AWS's partitions, and of the hosts that have IPv6 too.
const DOMAINS: [&str; 9] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "on.aws",
    "on.amazonwebservices.com.cn",
    "sc2s.sgov.gov",
    "c2s.ic.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
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
        let rest = rest
            .strip_prefix("dkr.ecr")
            .or_else(|| rest.strip_prefix("dkr-ecr"))?;
        let (fips, rest) = match rest.strip_prefix("-fips") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (region, domain) = rest.strip_prefix('.')?.split_once('.')?;
        let domain = DOMAINS.into_iter().find(|known| *known == domain)?;
        (!region.is_empty()).then(|| EcrHost {
            account: account.to_owned(),
            region: region.to_owned(),
            fips,
            domain,
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
}

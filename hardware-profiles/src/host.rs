//! Power of hosts without their accelerators.

use crate::figure::{Figure, load};

scaletwin_core::keys! {
    /// The hosts of a provider.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Host {
        /// The provider.
        pub provider: String,
        /// Power of an idle virtual processor, watts.
        pub idle_watts_per_vcpu: Figure,
        /// Power of a busy virtual processor, watts.
        pub peak_watts_per_vcpu: Figure,
        /// Power of 10^9 bytes of memory, watts.
        pub watts_per_gb: Figure,
    }
}

/// The files of the folder `hosts/`.
const FILES: [(&str, &str); 3] = [
    ("aws", include_str!("../hosts/aws.yaml")),
    ("azure", include_str!("../hosts/azure.yaml")),
    ("gcp", include_str!("../hosts/gcp.yaml")),
];

/// The hosts of this provider.
///
/// ```
/// let aws = scaletwin_hardware::host("aws").unwrap();
/// assert!(aws.idle_watts_per_vcpu.get() < aws.peak_watts_per_vcpu.get());
/// ```
#[must_use]
pub fn host(provider: &str) -> Option<Host> {
    let (name, text) = FILES.iter().find(|(known, _)| *known == provider)?;
    Some(load(&format!("hosts/{name}.yaml"), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_of_an_instance_type_has_its_hosts() {
        for instance in crate::instance_types() {
            let host = host(&instance.provider).unwrap();
            assert_eq!(host.provider, instance.provider);
            assert!(host.idle_watts_per_vcpu.get() < host.peak_watts_per_vcpu.get());
        }
    }
}

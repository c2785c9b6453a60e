//! Accelerators.

use crate::figure::{Figure, load};

scaletwin_core::keys! {
    /// An accelerator.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Accelerator {
        /// Its name in scenarios.
        pub name: String,
        /// Its memory, 10^9 bytes.
        pub memory_gb: Figure,
        /// Bandwidth of its memory, 10^9 bytes per second.
        pub memory_bandwidth_gb_per_s: Figure,
        /// Dense BF16 (or FP16) throughput, 10^12 operations per second, without sparsity.
        pub bf16_dense_tflops: Figure,
        /// Dense FP8 throughput, 10^12 operations per second, without sparsity.
        pub fp8_dense_tflops: Option<Figure> = None,
        /// The share of the throughput that large matrix products reach, 0 to 1.
        pub compute_efficiency: Figure,
        /// The share of the bandwidth that long reads reach, 0 to 1.
        pub bandwidth_efficiency: Figure,
        /// Bandwidth of its link to the other GPUs of its machine, one way, 10^9 bytes per second.
        pub link_gb_per_s: Figure,
        /// Power without work, watts.
        pub idle_watts: Option<Figure> = None,
        /// Power under full load, watts.
        pub peak_watts: Option<Figure> = None,
    }
}

/// The files of the folder `accelerators/`.
const FILES: [(&str, &str); 11] = [
    ("v100-sxm2-16gb", include_str!("../accelerators/v100-sxm2-16gb.yaml")),
    ("t4", include_str!("../accelerators/t4.yaml")),
    ("a10g", include_str!("../accelerators/a10g.yaml")),
    ("a100-sxm-40gb", include_str!("../accelerators/a100-sxm-40gb.yaml")),
    ("a100-sxm-80gb", include_str!("../accelerators/a100-sxm-80gb.yaml")),
    ("l4", include_str!("../accelerators/l4.yaml")),
    ("l40s", include_str!("../accelerators/l40s.yaml")),
    ("h100-sxm", include_str!("../accelerators/h100-sxm.yaml")),
    ("h100-pcie", include_str!("../accelerators/h100-pcie.yaml")),
    ("h200-sxm", include_str!("../accelerators/h200-sxm.yaml")),
    ("b200-sxm", include_str!("../accelerators/b200-sxm.yaml")),
];

/// The names of all accelerators.
#[must_use]
pub fn accelerators() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}

/// The accelerator of this name.
///
/// ```
/// let l40s = scaletwin_hardware::accelerator("l40s").unwrap();
/// assert_eq!(l40s.memory_gb.get(), 48.0);
/// ```
#[must_use]
pub fn accelerator(name: &str) -> Option<Accelerator> {
    let (name, text) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(load(&format!("accelerators/{name}.yaml"), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_loads_under_its_name_and_in_range() {
        for name in accelerators() {
            let accelerator = accelerator(name).unwrap();
            assert_eq!(accelerator.name, name);
            for share in [&accelerator.compute_efficiency, &accelerator.bandwidth_efficiency] {
                assert!((0.0..=1.0).contains(&share.get()), "{name}");
            }
            if let (Some(idle), Some(peak)) = (&accelerator.idle_watts, &accelerator.peak_watts) {
                assert!(0.0 < idle.get() && idle.get() < peak.get(), "{name}");
            }
        }
    }
}

//! The scales of a chart: where values lie, and at which of them there are labels.

/// How values are spread over the height of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// From 0 on, evenly.
    Linear,
    /// The same for numbers of things, which have no labels between whole numbers.
    Whole,
    /// Up to a whole: 0 to 1.
    Share,
    /// By their powers of ten, where they span many.
    Logarithmic,
}

/// The axis of values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// The least distance of labels.
    step: f64,
}

/// How many times the lowest value the highest is, before powers of ten show more.
const MANY: f64 = 30.0;

impl Axis {
    /// The axis for values from `lowest`, which is above 0, to `highest`.
    pub(super) fn of(scale: Scale, lowest: f64, highest: f64) -> Axis {
        let any = highest > 0.0 && highest.is_finite() && lowest.is_finite();
        match scale {
            Scale::Share => Axis { low: 0.0, high: 1.0, logarithmic: false, step: 0.0 },
            Scale::Logarithmic if any && highest / lowest > MANY => {
                // Of what lies far below the highest nobody wants to read more than that it does.
                let lowest = lowest.max(highest / 1e6);
                Axis { low: lowest / 1.5, high: highest * 1.5, logarithmic: true, step: 0.0 }
            }
            _ => {
                let high = if any { highest * 1.08 } else { 1.0 };
                let step = if scale == Scale::Whole { 1.0 } else { 0.0 };
                Axis { low: 0.0, high, logarithmic: false, step }
            }
        }
    }

    /// Where a value lies between bottom and top, 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = match self.logarithmic {
            false => (value - self.low) / (self.high - self.low),
            true => libm::log(value.max(self.low) / self.low) / libm::log(self.high / self.low),
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// Round values that have labels.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            let step = match round(self.high / 4.0).max(self.step) {
                step if self.step > 0.0 && step.fract() > 0.0 => 2.0 * step,
                step => step,
            };
            return (0..=5u32).map(|at| f64::from(at) * step).filter(|tick| *tick <= self.high).collect();
        }
        let decades = libm::log10(self.high / self.low);
        let parts: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 3.0] };
        let first = libm::floor(libm::log10(self.low));
        let powers = (0..12u32).map(|at| libm::pow(10.0, first + f64::from(at)));
        let ticks = powers.flat_map(|power| parts.iter().map(move |part| part * power));
        ticks.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

/// The least round number that is not below `value`: 1, 2, 2.5 or 5 with zeros.
fn round(value: f64) -> f64 {
    let power = libm::pow(10.0, libm::floor(libm::log10(value.max(1e-12))));
    let parts = [1.0, 2.0, 2.5, 5.0, 10.0];
    parts.into_iter().map(|part| part * power).find(|round| *round >= value * (1.0 - 1e-9)).unwrap_or(value)
}

/// The least round time that is not below `seconds`.
pub(super) fn round_time(seconds: f64) -> f64 {
    const ROUND: [f64; 17] = [
        1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10_800.0, 21_600.0,
        43_200.0, 86_400.0, 604_800.0,
    ];
    let weeks = 604_800.0 * libm::ceil(seconds / 604_800.0);
    ROUND.into_iter().find(|time| *time >= seconds).unwrap_or(weeks)
}

/// An instant as short as labels of this distance allow: `1:30`, `0:05:30`, `3 d`.
pub(super) fn clock_short(seconds: f64, unit: f64) -> String {
    let whole = libm::round(seconds);
    let (hours, minutes) = (libm::floor(whole / 3600.0), libm::floor(whole / 60.0) % 60.0);
    match unit {
        unit if unit >= 86_400.0 => format!("{} d", libm::round(whole / 86_400.0)),
        unit if unit >= 60.0 => format!("{hours}:{minutes:02}"),
        _ => format!("{hours}:{minutes:02}:{:02}", whole % 60.0),
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "round numbers")]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(Axis::of(Scale::Linear, 1.0, 12.0).ticks(), [0.0, 5.0, 10.0]);
        assert_eq!(Axis::of(Scale::Whole, 1.0, 1.0).ticks(), [0.0, 1.0]);
        assert_eq!(Axis::of(Scale::Whole, 1.0, 9.0).ticks(), [0.0, 5.0]);
        assert_eq!(Axis::of(Scale::Share, 0.1, 0.9).ticks(), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(Axis::of(Scale::Logarithmic, 0.5, 2.0).ticks(), [0.0, 1.0, 2.0]);
        let wide = Axis::of(Scale::Logarithmic, 0.05, 110.0).ticks();
        assert_eq!(
            wide.iter().map(|tick| format!("{tick:.2}")).collect::<Vec<_>>(),
            ["0.10", "1.00", "10.00", "100.00"]
        );
        for (low, high) in [(f64::INFINITY, 0.0), (1.0, f64::INFINITY), (1e-300, 1e300)] {
            let axis = Axis::of(Scale::Logarithmic, low, high);
            assert!(axis.ticks().len() < 30 && (0.0..=1.0).contains(&axis.share(5.0)), "{axis:?}");
        }
    }

    #[test]
    fn times_are_as_short_as_their_distance_allows() {
        assert_eq!(
            [(5_400.0, 1_800.0), (330.0, 30.0), (259_200.0, 86_400.0)]
                .map(|(at, unit)| clock_short(at, unit)),
            ["1:30", "0:05:30", "3 d"]
        );
        assert_eq!([0.3, 400.0, 1e6].map(round_time), [1.0, 600.0, 1_209_600.0]);
    }
}

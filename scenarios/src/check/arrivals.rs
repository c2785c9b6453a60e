//! Arrival processes.

use scaletwin_core::input::{At, Positive, Problems};
use scaletwin_core::random::{GAMMA_CV, Law};
use scaletwin_core::units::{Rate, Span};
use scaletwin_sim::traffic::arrivals::Process;
use scaletwin_sim::traffic::curve::Curve;

use crate::spec::traffic::ArrivalsSpec;

/// The highest rate per second: time has whole nanoseconds.
const MOST_RATE: f64 = 1e9;

/// A rate per second.
fn rate(rate: &At<Rate>, problems: &mut Problems) -> Option<f64> {
    let value = rate.as_per_second();
    let possible = value.recip().is_finite() && value > 0.0 && value <= MOST_RATE;
    if !possible {
        problems.error(&rate.place, "a rate is above 0 and at most 1e9/s");
    }
    possible.then_some(value)
}

/// The process of arrivals.
pub(super) fn process(spec: &At<ArrivalsSpec>, problems: &mut Problems) -> Option<Process> {
    let (curve, cv) = match &spec.value {
        ArrivalsSpec::Mmpp(written) => {
            let states: Vec<(f64, f64)> = written
                .states
                .iter()
                .map(|state| (state.rate.as_per_second(), state.stay.0.as_secs_f64()))
                .collect();
            if states.iter().any(|(rate, _)| *rate > MOST_RATE) {
                problems.error(&written.states.place, "a rate is at most 1e9/s");
                return None;
            }
            if states.len() < 2 || states.iter().all(|(rate, _)| *rate <= 0.0) {
                problems
                    .error(&written.states.place, "there are two states or more, and one has a rate above 0");
                return None;
            }
            return Some(Process::Modulated { states });
        }
        ArrivalsSpec::Sinus(written) => {
            let curve = Curve::Sinus {
                mean: rate(&written.mean, problems)?,
                amplitude: written.amplitude.get(),
                period: written.period.0.as_secs_f64(),
                peak: written.peak.as_secs_f64(),
            };
            (curve, &written.cv)
        }
        ArrivalsSpec::Profile(written) => {
            let rates: Vec<f64> = written.rates.iter().map(|rate| rate.as_per_second()).collect();
            if !rates.iter().any(|rate| *rate > 0.0) {
                problems.error(&written.rates.place, "one of the rates is above 0");
                return None;
            }
            if rates.iter().any(|rate| *rate > MOST_RATE) {
                problems.error(&written.rates.place, "a rate is at most 1e9/s");
                return None;
            }
            (Curve::profile(&rates, written.period.0.as_secs_f64(), written.joined), &written.cv)
        }
        ArrivalsSpec::FlashCrowd(written) => {
            let (base, peak) = (rate(&written.base, problems)?, rate(&written.peak, problems)?);
            let [at, ramp, hold, decay] =
                [written.at, written.ramp, written.hold, written.decay].map(Span::as_secs_f64);
            (Curve::flash_crowd(base, peak, at, ramp, hold, decay), &written.cv)
        }
        _ => return Some(Process::Renewal { gaps: gaps(spec, problems)? }),
    };
    Some(Process::Varying { curve, gaps: unit_gaps(cv, problems)? })
}

/// The least shape of Weibull gaps; their cv is 840 then, as large as that of gamma gaps may be.
const LEAST_WEIBULL: f64 = 0.09;

/// Gaps of mean 1.
fn unit_gaps(cv: &At<Positive>, problems: &mut Problems) -> Option<Law> {
    let square = cv.value.0 * cv.value.0;
    if cv.value.0.total_cmp(&1.0).is_eq() {
        return Some(Law::Exponential { mean: 1.0 });
    }
    if !GAMMA_CV.contains(&cv.value.0) {
        problems.error(&cv.place, "the cv of gamma gaps is between 0.001 and 1000");
        return None;
    }
    Some(Law::Gamma { shape: 1.0 / square, scale: square })
}

/// The gaps between arrivals in seconds.
fn gaps(spec: &At<ArrivalsSpec>, problems: &mut Problems) -> Option<Law> {
    let mut mean = |written: &At<Rate>| rate(written, problems).map(|rate| 1.0 / rate);
    match &spec.value {
        ArrivalsSpec::Poisson(spec) => Some(Law::Exponential { mean: mean(&spec.rate)? }),
        ArrivalsSpec::Constant(spec) => Some(Law::Constant { value: mean(&spec.rate)? }),
        ArrivalsSpec::Gamma(spec) => {
            let (mean, square) = (mean(&spec.rate)?, spec.cv.0 * spec.cv.0);
            if !GAMMA_CV.contains(&spec.cv.0) {
                problems.error(&spec.rate.place, "the cv of gamma gaps is between 0.001 and 1000");
                return None;
            }
            Some(Law::Gamma { shape: 1.0 / square, scale: mean * square })
        }
        ArrivalsSpec::Weibull(spec) => {
            let (mean, shape) = (mean(&spec.rate)?, spec.shape.value.0);
            if shape < LEAST_WEIBULL {
                let message = format!("the shape of Weibull gaps is at least {LEAST_WEIBULL}, found {shape}");
                problems.error(&spec.shape.place, message);
                return None;
            }
            Some(Law::Weibull { shape, scale: mean / libm::tgamma(1.0 + 1.0 / shape) })
        }
        ArrivalsSpec::HyperExponential(spec) => {
            let (mean, cv) = (mean(&spec.rate)?, spec.cv.0);
            if cv < 1.0 {
                problems.error(&spec.rate.place, "hyperexponential gaps have a cv of at least 1");
                return None;
            }
            Some(Law::hyperexponential(mean, cv))
        }
        ArrivalsSpec::Mmpp(_)
        | ArrivalsSpec::Sinus(_)
        | ArrivalsSpec::Profile(_)
        | ArrivalsSpec::FlashCrowd(_) => None,
        ArrivalsSpec::Gaps(gaps) => {
            if gaps.law.mean() <= 0.0 {
                problems.error(&gaps.place, "gaps are longer than nothing on average");
            }
            Some(gaps.law.clone())
        }
    }
}

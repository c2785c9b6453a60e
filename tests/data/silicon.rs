//! Means that others have measured on real servers, beside those of a replica whose step time follows from datasheets.

use std::io::Write as _;
use std::path::Path;

use libtest_mimic::Failed;
use scaletwin_core::record::ServiceSummary;

use super::{check, replay};

/// The file of measured means, from the folder of data.
pub(crate) const POINTS: &str = "validation/silicon_latency.csv";

/// A kind of points: their model and system as the file names them, both as we do, and how weights are kept.
type Kind = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// The latency of a message between GPUs was fitted to the first of these, and to nothing else.
const KINDS: [Kind; 2] = [
    ("Qwen/Qwen3-32B", "h100_sxm", "qwen3-32b", "h100-sxm", "bf16"),
    ("meta-llama/Llama-3.1-70B", "h200_sxm", "llama-3.1-70b", "h200-sxm", "fp8"),
];

/// A measured point.
#[derive(serde::Deserialize)]
struct Point {
    backend: String,
    model_path: String,
    system: String,
    precision: String,
    mode: String,
    isl: u32,
    osl: u32,
    batch_size: u32,
    tp_size: u32,
    silicon_ttft_ms: f64,
    silicon_tpot_ms: f64,
}

impl Point {
    fn is_of(&self, (model, system, .., weights): &Kind) -> bool {
        let precision = if *weights == "fp8" { "fp8" } else { "" };
        self.backend == "vllm"
            && self.mode == "agg"
            && (self.model_path.as_str(), self.system.as_str()) == (*model, *system)
            && self.precision == precision
    }

    /// As many clients as were at work at once, with lengths between 0.8 and 1 of those written.
    fn scenario(&self, (.., model, accelerator, weights): &Kind) -> String {
        let Point { isl, osl, batch_size: clients, tp_size: gpus, .. } = self;
        format!(
            "
name: point
services:
  - name: llm
    deployments:
      - name: main
        model: {model}
        accelerator: {accelerator}
        replica: {{gpus: {gpus}}}
        engine: {{kind: continuous-batching, weights: {weights}, enable_prefix_caching: false}}
traffic:
  - name: all
    clients: {{count: {clients}}}
    requests: {requests}
    prompt_tokens: {{uniform: {{min: {shortest}, max: {isl}}}}}
    output_tokens: {{uniform: {{min: {least}, max: {osl}}}}}
",
            requests = 10 * clients,
            shortest = isl * 4 / 5,
            least = osl * 4 / 5,
        )
    }

    /// How far the means to the first and between further tokens are off, as shares of what was measured.
    fn errors(&self, kind: &Kind) -> Result<(f64, f64), Failed> {
        let record = replay(&self.scenario(kind))?;
        let service = &record.summary.services[0];
        let off = |mean: Option<f64>, measured: f64| mean.map_or(1.0, |mean| mean * 1e3 / measured - 1.0);
        let [ttft, tpot] = means(service);
        Ok((off(ttft, self.silicon_ttft_ms), off(tpot, self.silicon_tpot_ms)))
    }
}

fn means(service: &ServiceSummary) -> [Option<f64>; 2] {
    [&service.ttft_seconds, &service.tpot_seconds].map(|latency| latency.as_ref().and_then(|l| l.mean))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Half of all points are nearer than these bounds, of which the documentation says the exact figures.
pub(crate) fn vllm_on_one_to_eight_gpus(path: &Path) -> Result<(), Failed> {
    // Rows of servers that are split by phase lack some numbers.
    let points: Vec<Point> = csv::Reader::from_path(path)?.deserialize().filter_map(Result::ok).collect();
    for kind in &KINDS {
        let (mut ttft, mut tpot) = (Vec::new(), Vec::new());
        for point in points.iter().filter(|point| point.is_of(kind)) {
            let errors = point.errors(kind)?;
            ttft.push(errors.0.abs());
            tpot.push(errors.1.abs());
        }
        let (count, ttft, tpot) = (tpot.len(), median(ttft), median(tpot));
        writeln!(
            std::io::stderr(),
            "{} on {}: {count} points, median error of TTFT {ttft:.3}, of TPOT {tpot:.3}",
            kind.0,
            kind.1
        )?;
        check(count >= 30, || format!("only {count} points of {}", kind.0))?;
        check(tpot < 0.1, || format!("TPOT of {} is {tpot:.3} off", kind.0))?;
        check(ttft < 0.3, || format!("TTFT of {} is {ttft:.3} off", kind.0))?;
    }
    Ok(())
}

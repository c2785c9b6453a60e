//! How long a step takes: fixed, linear, or by a roofline. `docs/models/step-time.md` has equations and limits.
//!
//! All coefficients are whole femtoseconds, so that many steps and one jump over them take the same time to the bit.

use scaletwin_core::model::{DecodeRun, StepShape, StepTime};
use scaletwin_core::units::Femtos;
use serde::Serialize;

use crate::{Accelerator, Model};

/// Bytes of an element of what goes from layer to layer: BF16.
const ACTIVATION_BYTES: f64 = 2.0;

/// One nanosecond, the shortest step.
const SHORTEST: u64 = 1_000_000;

/// One of the models below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepTimeModel {
    /// Every step takes the same time.
    Fixed(Fixed),
    /// Linear in tokens, sequences and contexts.
    Linear(Linear),
    /// The larger of computation and memory traffic.
    Roofline(Roofline),
}

impl StepTime for StepTimeModel {
    fn step(&self, shape: &StepShape) -> Femtos {
        match self {
            StepTimeModel::Fixed(model) => model.step(shape),
            StepTimeModel::Linear(model) => model.step(shape),
            StepTimeModel::Roofline(model) => model.step(shape),
        }
    }

    fn decode_run(&self, shape: &StepShape) -> DecodeRun {
        match self {
            StepTimeModel::Fixed(model) => model.decode_run(shape),
            StepTimeModel::Linear(model) => model.decode_run(shape),
            StepTimeModel::Roofline(model) => model.decode_run(shape),
        }
    }
}

/// Every step takes the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fixed {
    /// The time.
    pub step: Femtos,
}

impl StepTime for Fixed {
    fn step(&self, _: &StepShape) -> Femtos {
        Femtos(self.step.0.max(SHORTEST))
    }

    fn decode_run(&self, _: &StepShape) -> DecodeRun {
        DecodeRun { increase: Femtos(0), steps: u64::MAX }
    }
}

/// A step takes `base` + `per_prefill_token` × prompt tokens + `per_sequence` × sequences + `per_context_token` ×
/// tokens in the contexts of all sequences after the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Linear {
    /// The constant part, at least 1 ns.
    pub base: Femtos,
    /// For each token of a prompt.
    pub per_prefill_token: Femtos,
    /// For each sequence.
    pub per_sequence: Femtos,
    /// For each token in a context.
    pub per_context_token: Femtos,
}

impl StepTime for Linear {
    fn step(&self, shape: &StepShape) -> Femtos {
        let sequences = u64::from(shape.prefill_sequences) + u64::from(shape.decode_sequences);
        let context = shape.prefill_context + shape.decode_context;
        Femtos(
            self.base.0.max(SHORTEST)
                + self.per_prefill_token.0 * shape.prefill_tokens
                + self.per_sequence.0 * sequences
                + self.per_context_token.0 * context,
        )
    }

    fn decode_run(&self, shape: &StepShape) -> DecodeRun {
        let increase = Femtos(self.per_context_token.0 * u64::from(shape.decode_sequences));
        DecodeRun { increase, steps: u64::MAX }
    }
}

/// A step takes `overhead` + the larger of its computation and its memory traffic + what GPUs that share its layers
/// exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Roofline {
    /// The constant part, at least 1 ns.
    pub overhead: Femtos,
    /// Computation for each token.
    pub compute_per_token: Femtos,
    /// Computation for each pair of a token and one that it attends to.
    pub compute_per_attended: Femtos,
    /// Reading the weights, once a step.
    pub weights: Femtos,
    /// Reading the keys and values of each token in a context.
    pub memory_per_context_token: Femtos,
    /// Exchanges between GPUs, once a step.
    pub exchange: Femtos,
    /// The same for each token.
    pub exchange_per_token: Femtos,
}

/// What a roofline is made of besides accelerator and model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RooflineSettings {
    /// GPUs that share every layer.
    pub tensor_parallel: u32,
    /// Bytes of a weight: 2 for BF16, 1 for FP8.
    pub weight_bytes: f64,
    /// Bytes of an element of the KV cache.
    pub kv_bytes: f64,
    /// The constant part of a step: kernel launches, sampling, the scheduler.
    pub overhead: Femtos,
    /// The latency of one message from GPU to GPU.
    pub link_latency: Femtos,
}

impl Roofline {
    /// The roofline of a model on an accelerator.
    #[must_use]
    pub fn of(accelerator: &Accelerator, model: &Model, settings: &RooflineSettings) -> Roofline {
        let gpus = f64::from(settings.tensor_parallel.max(1));
        let fp8 = accelerator.fp8_dense_tflops.as_ref().filter(|_| settings.weight_bytes <= 1.0);
        let tflops = fp8.unwrap_or(&accelerator.bf16_dense_tflops).get();
        let flops = tflops * 1e12 * accelerator.compute_efficiency.get() * gpus;
        let bandwidth =
            accelerator.memory_bandwidth_gb_per_s.get() * 1e9 * accelerator.bandwidth_efficiency.get() * gpus;
        let parameters = model.parameters_billion.get() * 1e9;
        let femtos = |secs: f64| Femtos::from_secs_f64(secs).unwrap_or_default();
        // After attention and after the feed-forward network of each layer, sums over all GPUs go to all GPUs.
        let sums = 2.0 * model.layers.get();
        let rounds = 2.0 * libm::log2(gpus);
        let sent = 2.0 * (gpus - 1.0) / gpus * model.hidden_size.get() * ACTIVATION_BYTES;
        let link = accelerator.link_gb_per_s.get() * 1e9;
        Roofline {
            overhead: settings.overhead,
            compute_per_token: femtos(2.0 * parameters / flops),
            compute_per_attended: femtos(model.attention_flops() / flops),
            weights: femtos(parameters * settings.weight_bytes / bandwidth),
            // Beyond one head of keys and values each, GPUs keep the same heads twice, and all read them.
            memory_per_context_token: femtos(
                model.kv_bytes_per_token(settings.kv_bytes) * (gpus / model.kv_heads.get()).max(1.0)
                    / bandwidth,
            ),
            exchange: femtos(sums * rounds * settings.link_latency.as_secs_f64()),
            exchange_per_token: femtos(sums * sent / link),
        }
    }

    fn compute(&self, shape: &StepShape) -> u64 {
        self.compute_per_token.0 * shape.tokens()
            + self.compute_per_attended.0 * (shape.prefill_attention + shape.decode_context)
    }

    fn exchange(&self, shape: &StepShape) -> u64 {
        self.exchange.0 + self.exchange_per_token.0 * shape.tokens()
    }

    fn memory(&self, shape: &StepShape) -> u64 {
        self.weights.0 + self.memory_per_context_token.0 * (shape.prefill_context + shape.decode_context)
    }
}

impl StepTime for Roofline {
    fn step(&self, shape: &StepShape) -> Femtos {
        let alone = self.compute(shape).max(self.memory(shape));
        Femtos(self.overhead.0.max(SHORTEST) + alone + self.exchange(shape))
    }

    /// Both parts grow linearly with the contexts; the larger one holds until the other overtakes it.
    fn decode_run(&self, shape: &StepShape) -> DecodeRun {
        let decodes = u64::from(shape.decode_sequences);
        let compute = (self.compute(shape), self.compute_per_attended.0 * decodes);
        let memory = (self.memory(shape), self.memory_per_context_token.0 * decodes);
        let (large, small) = if compute >= memory { (compute, memory) } else { (memory, compute) };
        let steps = match small.1.checked_sub(large.1) {
            None | Some(0) => u64::MAX,
            Some(catching_up) => (large.0 - small.0) / catching_up + 1,
        };
        DecodeRun { increase: Femtos(large.1), steps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape() -> impl Strategy<Value = StepShape> {
        (1u32..300, 0u64..500_000).prop_map(|(decode_sequences, context)| StepShape {
            decode_sequences,
            decode_context: u64::from(decode_sequences) + context,
            ..StepShape::default()
        })
    }

    fn models() -> impl Strategy<Value = Box<dyn StepTime>> {
        let small = 0u64..1_000_000;
        prop_oneof![
            small.clone().prop_map(|step| Box::new(Fixed { step: Femtos(step) }) as Box<dyn StepTime>),
            (small.clone(), small.clone(), small.clone()).prop_map(|(base, sequence, context)| {
                Box::new(Linear {
                    base: Femtos(base),
                    per_prefill_token: Femtos(7),
                    per_sequence: Femtos(sequence),
                    per_context_token: Femtos(context),
                }) as Box<dyn StepTime>
            }),
            (small.clone(), small.clone(), small.clone(), small).prop_map(
                |(token, attended, weights, context)| {
                    Box::new(Roofline {
                        overhead: Femtos(5_000_000),
                        compute_per_token: Femtos(token * 40),
                        compute_per_attended: Femtos(attended),
                        weights: Femtos(weights * 9_000),
                        memory_per_context_token: Femtos(context),
                        exchange: Femtos(token * 3),
                        exchange_per_token: Femtos(token),
                    }) as Box<dyn StepTime>
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_run_of_steps_is_its_steps(model in models(), shape in shape()) {
            let run = model.decode_run(&shape);
            prop_assert!(run.steps >= 1);
            let first = model.step(&shape).0;
            for step in [1, 2, 3, 10, 100, 1_000, run.steps.saturating_sub(1)] {
                if step < run.steps && step < 1 << 32 {
                    prop_assert_eq!(model.step(&shape.after(step)).0, first + step * run.increase.0);
                }
            }
        }
    }

    #[test]
    fn a_decode_of_one_sequence_is_bound_by_the_weights() {
        let (l40s, llama) = (crate::accelerator("l40s").unwrap(), crate::model("llama-3.1-8b").unwrap());
        let settings = RooflineSettings {
            tensor_parallel: 1,
            weight_bytes: 2.0,
            kv_bytes: 2.0,
            overhead: Femtos(0),
            link_latency: Femtos(4_000_000_000),
        };
        let roofline = Roofline::of(&l40s, &llama, &settings);
        let one = StepShape { decode_sequences: 1, decode_context: 1, ..StepShape::default() };
        // 16.06 GB at 0.8 × 864 GB/s.
        let seconds = roofline.step(&one).as_secs_f64();
        assert!((seconds - 16.06e9 / (0.8 * 864e9)).abs() < 1e-5, "{seconds}");
        let prompt = StepShape {
            prefill_tokens: 8_192,
            prefill_sequences: 1,
            prefill_attention: 8_192 * 4_096,
            prefill_context: 8_192,
            ..StepShape::default()
        };
        // 2 × 8.03e9 × 8192 operations at half of 362 TFLOPS, and attention.
        let seconds = roofline.step(&prompt).as_secs_f64();
        assert!((0.72..0.85).contains(&seconds), "{seconds}");
    }

    #[test]
    fn gpus_that_share_layers_exchange_two_sums_a_layer() {
        let (h100, llama) = (crate::accelerator("h100-sxm").unwrap(), crate::model("llama-3.1-8b").unwrap());
        let of = |tensor_parallel| {
            let settings = RooflineSettings {
                tensor_parallel,
                weight_bytes: 2.0,
                kv_bytes: 2.0,
                overhead: Femtos(0),
                link_latency: Femtos(4_000_000_000),
            };
            Roofline::of(&h100, &llama, &settings)
        };
        assert_eq!((of(1).exchange, of(1).exchange_per_token), (Femtos(0), Femtos(0)));
        // 64 sums in 2 log2(8) rounds of 4 us; 64 x 2 x 7/8 x 4096 x 2 bytes at 450 GB/s.
        assert!((of(8).exchange.as_secs_f64() - 64.0 * 6.0 * 4e-6).abs() < 1e-12);
        assert!((of(8).exchange_per_token.as_secs_f64() - 64.0 * 1.75 * 8_192.0 / 450e9).abs() < 1e-14);
        let one = StepShape { decode_sequences: 3, decode_context: 30, ..StepShape::default() };
        let parts = of(8).weights.0 + 30 * of(8).memory_per_context_token.0;
        let exchanged = of(8).exchange.0 + 3 * of(8).exchange_per_token.0;
        assert_eq!(of(8).step(&one).0, SHORTEST + parts + exchanged);
    }
}

//! Generated queries: every construct that is evaluated, nested, at instants in and around the series.

use scaletwin_core::random::{Draws, Seed};

use crate::series::{LENGTH, START};

/// Draws queries.
pub(crate) struct Queries {
    draws: Draws,
}

/// Whether a query says in which order its answer comes.
pub(crate) fn is_ordered(query: &str) -> bool {
    ["sort", "topk(", "bottomk("].iter().any(|start| query.starts_with(start))
}

/// What is selected.
const SELECTORS: [&str; 24] = [
    "requests_total",
    "requests_total{job=\"a\"}",
    "requests_total{code!=\"200\"}",
    "requests_total{pod=~\"p[01]\"}",
    "requests_total{pod!~\"p0|p1\", job=\"b\"}",
    "requests_total{pod=~\".*2\"}",
    "tokens_total",
    "tokens_total{kind=\"out\",pod=\"p1\"}",
    "queue",
    "queue{job=\"b\"}",
    "queue{pod=\"p7\"}",
    "share",
    "share{job=~\"a|b\",pod!=\"p2\"}",
    "limit",
    "young_total",
    "flat",
    "odd",
    "odd{note=~\"one.two\"}",
    "odd{note=~\"x{y}.*\"}",
    "grid",
    "wait_bucket",
    "wait_bucket{le=\"+Inf\"}",
    "{__name__=~\"queue|share\",pod=\"p0\"}",
    "nothing{job=\"a\",pod=~\"p.\",job=\"b\",team=\"red\"}",
];

const OVER_RANGE: [&str; 18] = [
    "rate",
    "rate",
    "increase",
    "irate",
    "delta",
    "idelta",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "changes",
    "resets",
    "deriv",
];

const OF_VALUE: [&str; 6] = ["abs", "ceil", "floor", "round", "sqrt", "sgn"];

/// Functions whose last bit differs from one library to another: outermost only, for a comparison or a remainder makes
/// much of a bit.
const OUTERMOST: [&str; 4] = ["exp", "ln", "log2", "log10"];

const AGGREGATIONS: [&str; 8] = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];

const GROUPS: [&str; 9] = [
    "",
    "",
    " by (job)",
    " by (pod)",
    " by (job, pod)",
    " by ()",
    " without (pod)",
    " without (pod, code, le)",
    " by (__name__, job)",
];

const MATCHING: [&str; 12] = [
    "",
    "",
    "on(job, pod)",
    "on(pod)",
    "on()",
    "ignoring(code)",
    "ignoring(kind, code)",
    "on(job) group_left",
    "on(job) group_left(team)",
    "on(job) group_right(team)",
    "ignoring(code) group_left",
    "on(pod) group_right()",
];

const NUMBERS: [&str; 15] =
    ["0", "1", "2", "0.5", "-1", "3.7", "0.9", "0.99", "-0.1", "1.5", "NaN", "Inf", "-Inf", "1e-3", "100"];

const LENGTHS: [&str; 9] = ["30s", "1m", "61s", "2m", "5m", "10m30s", "15s", "20m", "1ms"];

impl Queries {
    /// Draws from a seed.
    pub(crate) fn new(seed: Seed) -> Queries {
        Queries { draws: seed.component("queries").entity(0) }
    }

    /// A query and when to ask it, ms since 1970.
    pub(crate) fn next_question(&mut self) -> (String, i64) {
        let text = match self.draws.below(40) {
            0 => self.range(2),
            1 => self.scalar(2),
            2 => self.mistake(),
            3 => format!("sort{}({})", self.pick(&["", "_desc"]), self.vector(1)),
            4 => format!("{}({})", self.pick(&OUTERMOST), self.vector(2)),
            _ => self.vector(3),
        };
        (text, self.instant())
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.draws.below(from.len() as u64)).expect("lists are short")]
    }

    fn below(&mut self, bound: i64) -> i64 {
        i64::try_from(self.draws.below(bound.unsigned_abs())).expect("bounds are small")
    }

    /// Half on whole minutes, where samples lie on the edges of ranges; some before and after all series.
    fn instant(&mut self) -> i64 {
        let at = START - 120_000 + self.below(LENGTH + 600_000);
        if self.draws.below(2) == 0 { at - at % 60_000 } else { at }
    }

    fn selector(&mut self) -> String {
        let selector = self.pick(&SELECTORS);
        selector.to_owned()
    }

    /// An offset or an instant of its own, now and then.
    fn shift(&mut self) -> String {
        match self.draws.below(16) {
            0 => format!(" offset {}", self.pick(&LENGTHS)),
            1 => format!(" offset -{}", self.pick(&LENGTHS)),
            2 => format!(" @ {}", (START + self.below(LENGTH)) / 1000),
            3 => format!(" @ {}.25 offset 1m", (START + self.below(LENGTH)) / 1000),
            4 => " @ end()".to_owned(),
            5 => " @ start() offset 30s".to_owned(),
            _ => String::new(),
        }
    }

    fn range(&mut self, depth: u32) -> String {
        let (length, shift) = (self.pick(&LENGTHS), self.shift());
        if depth > 0 && self.draws.below(6) == 0 {
            let inner = self.vector(depth - 1);
            let step = self.pick(&["", "15s", "7s", "1m"]);
            return format!("({inner})[{}:{step}]{shift}", self.pick(&["1m", "3m", "5m", "90s"]));
        }
        format!("{}[{length}]{shift}", self.selector())
    }

    fn scalar(&mut self, depth: u32) -> String {
        match self.draws.below(if depth == 0 { 6 } else { 10 }) {
            0..=5 => self.pick(&NUMBERS).to_owned(),
            6 => "time()".to_owned(),
            7 => format!("scalar({})", self.vector(depth - 1)),
            8 => {
                let operator = self.pick(&["+", "-", "*", "/", "%", "^", "== bool", "< bool", ">= bool"]);
                format!("({} {operator} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            _ => format!("-{}", self.scalar(depth - 1)),
        }
    }

    fn vector(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.selector() + &self.shift();
        }
        let inner = depth - 1;
        match self.draws.below(31) {
            0 | 1 => self.selector() + &self.shift(),
            2..=8 => format!("{}({})", self.pick(&OVER_RANGE), self.range(inner)),
            9 => format!("quantile_over_time({}, {})", self.scalar(inner.min(1)), self.range(inner)),
            // Not with `@`: inside a subquery 2.42 moves its range with the steps all the same.
            10 => format!(
                "predict_linear({}[{}], {})",
                self.selector(),
                self.pick(&LENGTHS),
                self.scalar(inner.min(1))
            ),
            11..=13 => self.aggregation(inner),
            14 => format!("quantile({}, {})", self.pick(&NUMBERS), self.vector(inner)),
            29 => self.extremes(inner),
            15..=17 => format!("{}({})", self.pick(&OF_VALUE), self.vector(inner)),
            18 => self.clamped(inner),
            19 | 20 => {
                let operator = self
                    .pick(&["+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<= bool", "> bool"]);
                let (vector, scalar) = (self.vector(inner), self.scalar(inner.min(1)));
                if self.draws.below(2) == 0 {
                    format!("({vector}) {operator} {scalar}")
                } else {
                    format!("{scalar} {operator} ({vector})")
                }
            }
            21..=23 => {
                let operator = self.pick(&["+", "-", "*", "/", "%", "==", "!=", ">", "<= bool", "^"]);
                let matching = self.pick(&MATCHING);
                format!("({}) {operator} {matching} ({})", self.vector(inner), self.vector(inner))
            }
            24 => {
                let operator = self.pick(&["and", "or", "unless"]);
                let matching = self.pick(&["", "on(pod)", "on(job)", "ignoring(code)", "on()"]);
                format!("({}) {operator} {matching} ({})", self.vector(inner), self.vector(inner))
            }
            25 => self.histogram(inner),
            26 => self.relabelled(inner),
            27 => match self.draws.below(4) {
                0 => format!("absent({})", self.vector(inner)),
                1 => format!("absent_over_time({})", self.range(inner)),
                2 => format!("absent({})", self.pick(&SELECTORS[22..])),
                _ => format!("timestamp({})", self.selector()),
            },
            28 => format!("vector({})", self.scalar(inner)),
            _ => format!("-({})", self.vector(inner)),
        }
    }

    fn aggregation(&mut self, depth: u32) -> String {
        let (name, group) = (self.pick(&AGGREGATIONS), self.pick(&GROUPS));
        let inner = self.vector(depth);
        if self.draws.below(2) == 0 {
            format!("{name}{group} ({inner})")
        } else {
            format!("{name} ({inner}){group}")
        }
    }

    /// The largest or smallest. Not of quantiles of histograms or subqueries: Prometheus gives those in any order, so that
    /// equals are chosen by luck.
    fn extremes(&mut self, depth: u32) -> String {
        let vector = loop {
            let vector = self.vector(depth);
            if !vector.contains("histogram_quantile") && !vector.contains(':') {
                break vector;
            }
        };
        format!("{}({}, {vector})", self.pick(&["topk", "bottomk"]), self.pick(&NUMBERS))
    }

    fn clamped(&mut self, depth: u32) -> String {
        let vector = self.vector(depth);
        match self.draws.below(4) {
            0 => format!("clamp({vector}, {}, {})", self.pick(&NUMBERS), self.pick(&NUMBERS)),
            1 => format!("clamp_min({vector}, {})", self.pick(&NUMBERS)),
            2 => format!("clamp_max({vector}, {})", self.pick(&NUMBERS)),
            _ => format!("round({vector}, {})", self.pick(&NUMBERS)),
        }
    }

    fn histogram(&mut self, depth: u32) -> String {
        let length = self.pick(&LENGTHS);
        let inner = match self.draws.below(6) {
            0 => "wait_bucket".to_owned(),
            1 => "sum by (le) (wait_bucket)".to_owned(),
            2 => format!("rate(wait_bucket[{length}])"),
            3 => format!("sum by (le) (rate(wait_bucket[{length}]))"),
            4 => format!(
                "sum by (pod, le) (rate(wait_bucket{{le!=\"{}\"}}[{length}]))",
                self.pick(&["1", "+Inf", "0.1"])
            ),
            _ => self.vector(depth),
        };
        format!("histogram_quantile({}, {inner})", self.pick(&NUMBERS))
    }

    fn relabelled(&mut self, depth: u32) -> String {
        let vector = self.vector(depth);
        match self.draws.below(4) {
            0 => format!("label_replace({vector}, \"pod\", \"x$1-${{2}}y\", \"pod\", \"(p)(.*)\")"),
            1 => format!("label_replace({vector}, \"new\", \"$0$1\", \"job\", \"(.).?\")"),
            2 => format!("label_replace({vector}, \"pod\", \"\", \"pod\", \".*\")"),
            _ => format!("label_join({vector}, \"new\", \"-\", \"job\", \"pod\", \"none\")"),
        }
    }

    /// A query that must be refused.
    fn mistake(&mut self) -> String {
        let mistakes = [
            "rate(queue)",
            "queue[5m] offset 1m offset 2m",
            "sum(queue[5m])",
            "queue queue",
            "sum(",
            "{job=~\".*\"}",
            "nosuch(queue)",
            "1 > 2",
            "queue + on(job) group_left(job) limit",
            "queue{pod=\"p0\"",
            "queue and 1",
            "topk(queue, 1)",
            "label_replace(queue, \"a b\", \"\", \"\", \"\")",
            "queue{pod=~\"(\"}",
            "queue[0s]",
            "label_replace(queue, \"a\", \"\", \"\", \"(\")",
            "histogram_quantile(queue, 1)",
            "queue[5m:]",
            "-queue[5m]",
            "queue and group_left(job) limit",
            "queue offset 1",
            "1h",
            "exp(NaN)",
            "sum by (pod (queue)",
            "queue[5]",
            "queue > bool",
            "queue + bool queue",
            "queue @ queue",
            "rate(rate(queue[5m]))",
            "\"text\" + 1",
        ];
        self.pick(&mistakes).to_owned()
    }
}

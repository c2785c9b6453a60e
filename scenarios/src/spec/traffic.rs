//! Traffic as written.

use std::collections::BTreeMap;

use scaletwin_core::input::{At, Count, NonNegative, Period, Positive};
use scaletwin_core::random::Distributed;
use scaletwin_core::record::Outcome;
use scaletwin_core::units::{Rate, Share, Span};
use scaletwin_sim::traffic::trace::{TimeUnit, TraceFormat};

scaletwin_core::keys! {
    /// A stream of requests for one service: from a trace, from an arrival process, or from clients that wait for their
    /// answers. Streams of different priority are the classes of a service.
    #[derive(Debug, Clone)]
    pub struct TrafficSpec {
        /// Its name. All its luck depends on it.
        pub name: At<String>,
        /// The service. Default: the only one.
        pub service: Option<At<String>> = None,
        /// Requests of a trace file.
        pub trace: Option<At<TraceSpec>> = None,
        /// Requests of an arrival process.
        pub arrivals: Option<At<ArrivalsSpec>> = None,
        /// Requests of clients, each of which sends its next when its last has ended.
        pub clients: Option<At<ClientsSpec>> = None,
        /// Requests of sessions: users who read an answer, think, and ask again with all that was said before.
        pub sessions: Option<At<SessionsSpec>> = None,
        /// Tokens of a prompt, for requests that no trace gives; of a session, of each message.
        pub prompt_tokens: Option<Distributed<NonNegative>> = None,
        /// Tokens of an answer, for requests that no trace gives.
        pub output_tokens: Option<Distributed<NonNegative>> = None,
        /// When the stream begins: t = 0 of its trace or process.
        pub from: Span = Span::ZERO,
        /// When it ends: nothing new arrives from then on; what clients try again still does. Default: the scenario's
        /// `duration`.
        pub until: Option<At<Span>> = None,
        /// How many requests. Default: as many as come until its end.
        pub requests: Option<At<u64>> = None,
        /// Their priority where a trace has none; lower is more urgent.
        pub priority: i32 = 0,
        /// How long a request may wait before its service begins.
        pub queue_timeout: Option<Span> = None,
        /// How many users its requests come from, each as likely, for routing by session. Default: each request is one
        /// of its own; a client of `clients:` always is one.
        pub users: Option<At<Count>> = None,
        /// The zone in which its requests enter, for services with `prefer_zone`.
        pub zone: Option<At<String>> = None,
        /// Who ends an answer: the model, which stops, or the request's `max_tokens`.
        pub ends_by: EndsBy = EndsBy::Stop,
        /// What clients do when an answer is late or does not come.
        pub client: ClientSpec = ClientSpec::default(),
    }
}

scaletwin_core::names! {
    /// Who ends an answer.
    pub enum EndsBy {
        /// The model stops.
        Stop = "stop",
        /// The request's `max_tokens` cuts it, which the scheduler knows beforehand.
        MaxTokens = "max-tokens",
    }
}

scaletwin_core::keys! {
    /// Requests of a trace file, plain or compressed with gzip. It is read as it is replayed.
    #[derive(Debug, Clone)]
    pub struct TraceSpec {
        /// Its format.
        pub format: TraceFormat,
        /// The file, relative to the scenario's folder.
        pub path: At<String>,
        /// The part that is replayed, counted from t = 0 of the whole trace; its beginning becomes t = 0.
        pub slice: Option<At<SliceSpec>> = None,
        /// By what time runs faster: 2 halves all gaps.
        pub speed: Positive = Positive(1.0),
        /// Copies of each request on average: 0.5 leaves out half of them at random, 2 doubles them. Where arrivals are drawn
        /// from numbers of requests, those numbers grow instead.
        pub rate_scale: Positive = Positive(1.0),
        /// Whether lines that cannot be used are left out and counted, rather than an error.
        pub skip_bad: bool = false,
        /// Only lines with these texts in these columns or fields, such as `Model: GPT-4`.
        pub only: BTreeMap<String, String> = BTreeMap::new(),
        /// Where an access log has its times and lengths.
        pub fields: Option<At<LogFieldsSpec>> = None,
        /// A file with the distribution of the tokens of prompts, instead of `prompt_tokens`: CSV with tokens and cdf, or
        /// the answer of Prometheus for the buckets of a histogram as `.json`.
        pub prompt_tokens_cdf: Option<At<String>> = None,
        /// The same of the tokens of answers.
        pub output_tokens_cdf: Option<At<String>> = None,
    }
}

scaletwin_core::keys! {
    /// Where an access log has its times and lengths: keys of JSON, with dots for what is inside others; of text the number
    /// of the field from 1, or host, ident, user, time, request, method, path, status, bytes, referer, agent.
    #[derive(Debug, Clone)]
    pub struct LogFieldsSpec {
        /// When the request arrived.
        pub time: Option<String> = None,
        /// When it had ended; with `duration`, where the log has no time of arrival.
        pub end: Option<String> = None,
        /// How long it took.
        pub duration: Option<String> = None,
        /// Tokens of its prompt.
        pub prompt_tokens: Option<String> = None,
        /// Tokens of its answer.
        pub output_tokens: Option<String> = None,
        /// The unit of instants that are bare numbers, counted from 1970.
        pub time_unit: TimeUnit = TimeUnit::Seconds,
        /// The unit of durations.
        pub duration_unit: TimeUnit = TimeUnit::Seconds,
    }
}

scaletwin_core::keys! {
    /// A part of a trace.
    #[derive(Debug, Clone)]
    pub struct SliceSpec {
        /// Its beginning.
        pub from: Span = Span::ZERO,
        /// Its end. Default: the end of the trace.
        pub to: Option<Span> = None,
    }
}

scaletwin_core::variants! {
    /// An arrival process.
    #[derive(Debug, Clone)]
    pub enum ArrivalsSpec {
        /// Independent arrivals.
        Poisson(PoissonSpec) = "poisson",
        /// Gaps with a Gamma distribution: burstier than Poisson with a cv above 1.
        Gamma(GammaSpec) = "gamma",
        /// Equal gaps.
        Constant(PoissonSpec) = "constant",
        /// Gaps with a Weibull distribution: burstier than Poisson with a shape below 1.
        Weibull(WeibullSpec) = "weibull",
        /// Gaps of one of two exponential distributions, with balanced means: burstier than Poisson.
        HyperExponential(GammaSpec) = "hyperexponential",
        /// Independent gaps with any distribution.
        Gaps(Distributed<Span>) = "gaps",
        /// A Poisson process whose rate goes from state to state (MMPP): bursts that last.
        Mmpp(MmppSpec) = "mmpp",
        /// A rate that swings over a period, such as a day.
        Sinus(SinusSpec) = "sinus",
        /// Rates over a period that come again, such as those of the hours of a day or a week.
        Profile(ProfileSpec) = "profile",
        /// A rate that rises once and falls back.
        FlashCrowd(FlashCrowdSpec) = "flash_crowd",
    }
}

scaletwin_core::keys! {
    /// Arrivals at a rate, with Weibull gaps.
    #[derive(Debug, Clone)]
    pub struct WeibullSpec {
        /// Requests per time, such as `8/s`.
        pub rate: At<Rate>,
        /// The shape of the gaps; 1 is Poisson.
        pub shape: At<Positive>,
    }
}

scaletwin_core::keys! {
    /// A rate that goes from state to state, in their order and round again.
    #[derive(Debug, Clone)]
    pub struct MmppSpec {
        /// The states, two or more.
        pub states: At<Vec<MmppStateSpec>>,
    }
}

scaletwin_core::keys! {
    /// A state of a modulated process.
    #[derive(Debug, Clone)]
    pub struct MmppStateSpec {
        /// Requests per time in it; can be `0/s`.
        pub rate: Rate,
        /// How long it lasts on average; exponentially distributed.
        pub stay: Period,
    }
}

scaletwin_core::keys! {
    /// A rate that swings: mean × (1 + amplitude × cos(2π (t - peak) / period)).
    #[derive(Debug, Clone)]
    pub struct SinusSpec {
        /// Requests per time over a whole period, such as `8/s`.
        pub mean: At<Rate>,
        /// How far the peak is above the mean, as a share of it.
        pub amplitude: Share,
        /// From one peak to the next.
        pub period: Period = Period(Span::from_secs(86_400)),
        /// When the first peak is, counted from the beginning of the stream.
        pub peak: Span,
        /// The standard deviation of the gaps over their mean, at a constant rate; 1 is Poisson.
        pub cv: At<Positive> = Positive(1.0),
    }
}

scaletwin_core::keys! {
    /// Rates over a period that come again.
    #[derive(Debug, Clone)]
    pub struct ProfileSpec {
        /// The period. Its parts are equally long, and the first begins with the stream.
        pub period: Period = Period(Span::from_secs(86_400)),
        /// The rate of each part.
        pub rates: At<Vec<Rate>>,
        /// Whether a rate holds at the beginning of its part and goes straight to the next, rather than over all of it.
        pub joined: bool = false,
        /// The standard deviation of the gaps over their mean, at a constant rate; 1 is Poisson.
        pub cv: At<Positive> = Positive(1.0),
    }
}

scaletwin_core::keys! {
    /// A rate that rises once and falls back, by straight lines.
    #[derive(Debug, Clone)]
    pub struct FlashCrowdSpec {
        /// Requests per time before and after.
        pub base: At<Rate>,
        /// Requests per time at its height.
        pub peak: At<Rate>,
        /// When it begins to rise, counted from the beginning of the stream.
        pub at: Span,
        /// How long it rises.
        pub ramp: Span = Span::ZERO,
        /// How long it stays at its height.
        pub hold: Span,
        /// How long it falls.
        pub decay: Span = Span::ZERO,
        /// The standard deviation of the gaps over their mean, at a constant rate; 1 is Poisson.
        pub cv: At<Positive> = Positive(1.0),
    }
}

scaletwin_core::keys! {
    /// Sessions of several turns. A turn's prompt is the system prompt, all messages and answers before, and a message of
    /// `prompt_tokens`. A turn that is not completed ends its session.
    #[derive(Debug, Clone)]
    pub struct SessionsSpec {
        /// When sessions begin. The stream's `requests` bounds their number.
        pub arrivals: At<ArrivalsSpec>,
        /// How many turns a session has; rounded, at least 1.
        pub turns: Distributed<NonNegative>,
        /// From an answer to the next message.
        pub think_time: Distributed<Span>,
        /// Tokens that every prompt begins with.
        pub system_tokens: u32 = 0,
        /// A session ends before a prompt that would be longer.
        pub max_prompt_tokens: Option<At<Count>> = None,
    }
}

scaletwin_core::keys! {
    /// Arrivals at a rate.
    #[derive(Debug, Clone)]
    pub struct PoissonSpec {
        /// Requests per time, such as `8/s`.
        pub rate: At<Rate>,
    }
}

scaletwin_core::keys! {
    /// Arrivals at a rate, with gaps of a coefficient of variation.
    #[derive(Debug, Clone)]
    pub struct GammaSpec {
        /// Requests per time, such as `8/s`.
        pub rate: At<Rate>,
        /// The standard deviation of the gaps over their mean; 1 is Poisson.
        pub cv: Positive,
    }
}

scaletwin_core::keys! {
    /// Clients that wait for their answers.
    #[derive(Debug, Clone)]
    pub struct ClientsSpec {
        /// How many.
        pub count: Count,
        /// From the end of a request to the client's next one, and before its first. Default: none.
        pub think_time: Option<Distributed<Span>> = None,
    }
}

scaletwin_core::keys! {
    /// What clients do when an answer is late or does not come.
    #[derive(Debug, Clone, Default)]
    pub struct ClientSpec {
        /// After this, from arrival, the client gives up: the request has timed out.
        pub timeout: Option<Distributed<Span>> = None,
        /// After this, from arrival, the client goes away: the request is aborted.
        pub patience: Option<Distributed<Span>> = None,
        /// Within this, from arrival, a request has to be complete; else it is given up as timed out.
        pub deadline: Option<Span> = None,
        /// How it tries again. Default: it does not.
        pub retries: Option<RetrySpec> = None,
    }
}

scaletwin_core::keys! {
    /// How a client tries again: after a back-off that grows, at random below it, within a budget.
    #[derive(Debug, Clone)]
    pub struct RetrySpec {
        /// The most retries of one request.
        pub max: At<u16>,
        /// The delay before the first retry.
        pub initial: Span = Span::from_millis(100),
        /// By what each further delay is longer.
        pub factor: Positive = Positive(2.0),
        /// The longest delay.
        pub longest: Span = Span::from_secs(10),
        /// The share of the delay that is drawn at random.
        pub jitter: Share = Share::new(1.0).expect("a share"),
        /// Retries that each first attempt earns. Default: without a budget.
        pub budget: Option<Share> = None,
        /// The most retries that can be saved up, and the number at the start. Default: 10.
        pub burst: Option<At<NonNegative>> = None,
        /// After which outcomes it tries again. Default: rejected, timed_out, failed.
        pub on: Option<At<Vec<RetryOn>>> = None,
    }
}

impl RetrySpec {
    /// The burst of a budget without one.
    pub const BURST: f64 = 10.0;
}

scaletwin_core::names! {
    /// An outcome after which a client can try again.
    pub enum RetryOn {
        /// The request was refused.
        Rejected = "rejected",
        /// Its time was over.
        TimedOut = "timed_out",
        /// Its replica went away.
        Failed = "failed",
    }
}

impl RetryOn {
    /// The outcome.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            RetryOn::Rejected => Outcome::Rejected,
            RetryOn::TimedOut => Outcome::TimedOut,
            RetryOn::Failed => Outcome::Failed,
        }
    }
}

//! What can be measured of the fleet: exporters under their real names, scraped with interval and lag into a short
//! history, and the metrics-server.
//!
//! | module | what it holds |
//! |---|---|
//! | [`exporter`] | what one replica's exporters show |
//! | [`history`] | samples of the last minutes, with Prometheus' rules for an instant and for a rate |
//! | [`load`] | load as it is reported to controllers that collect for themselves |
//! | [`metrics_server`] | CPU and memory by pod, as `metrics.k8s.io` reports them |
//! | [`promql`] | PromQL, for an instant, over any source of series |
//! | [`queries`] | signals that are queries, and the history as their source |
//! | [`signals`] | the names under `signals:` and how they are worked out |

pub mod exporter;
pub mod history;
pub mod load;
pub mod metrics_server;
pub mod promql;
pub mod queries;
pub mod signals;

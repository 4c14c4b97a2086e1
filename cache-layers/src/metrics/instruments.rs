//! Creates instruments from the catalogue.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};

use super::catalog::{BUCKETS, Instrument, Metric};

impl Metric {
    /// Creates the histogram. The caller keeps it.
    pub(super) fn histogram(&self, meter: &Meter) -> Histogram<f64> {
        debug_assert_eq!(self.instrument, Instrument::Histogram);
        meter
            .f64_histogram(self.name)
            .with_unit(self.unit)
            .with_description(self.meaning)
            .with_boundaries(BUCKETS.to_vec())
            .build()
    }

    /// Calls `observe` whenever metrics are collected, for as long as the meter's provider exists.
    pub(super) fn observe(
        &self,
        meter: &Meter,
        observe: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
    ) {
        debug_assert_eq!(self.instrument, Instrument::Counter);
        let _callbacks_stay = meter
            .u64_observable_counter(self.name)
            .with_unit(self.unit)
            .with_description(self.meaning)
            .with_callback(observe)
            .build();
    }

    /// As [`observe`](Self::observe), for a sum that can also shrink.
    pub(super) fn observe_level(
        &self,
        meter: &Meter,
        observe: impl Fn(&dyn Fn(u64, &[KeyValue])) + Send + Sync + 'static,
    ) {
        debug_assert_eq!(self.instrument, Instrument::UpDownCounter);
        let _callbacks_stay = meter
            .i64_observable_up_down_counter(self.name)
            .with_unit(self.unit)
            .with_description(self.meaning)
            .with_callback(move |counter: &dyn AsyncInstrument<i64>| {
                observe(&|level, labels| counter.observe(i64::try_from(level).unwrap_or(i64::MAX), labels));
            })
            .build();
    }

    /// As [`observe`](Self::observe), for a time in seconds that is not added up. `None` if there is nothing to
    /// report.
    #[cfg(feature = "encryption")]
    pub(super) fn observe_gauge(
        &self,
        meter: &Meter,
        observe: impl Fn() -> Option<std::time::Duration> + Send + Sync + 'static,
    ) {
        debug_assert_eq!(self.instrument, Instrument::Gauge);
        let _callbacks_stay = meter
            .f64_observable_gauge(self.name)
            .with_unit(self.unit)
            .with_description(self.meaning)
            .with_callback(move |gauge: &dyn AsyncInstrument<f64>| {
                if let Some(time) = observe() {
                    gauge.observe(time.as_secs_f64(), &[]);
                }
            })
            .build();
    }
}

//! Instruments, made as the catalogue says.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};

use super::catalog::{BUCKETS, Instrument, Metric};

impl Metric {
    /// The histogram; the caller keeps it.
    pub(super) fn histogram(&self, meter: &Meter) -> Histogram<f64> {
        debug_assert_eq!(self.instrument, Instrument::Histogram);
        meter
            .f64_histogram(self.name)
            .with_unit(self.unit)
            .with_description(self.meaning)
            .with_boundaries(BUCKETS.to_vec())
            .build()
    }

    /// Has `observe` called whenever sums are collected, for as long as the meter's provider lives.
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

    /// As [`observe`](Self::observe), of a sum that shrinks, too.
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

    /// As [`observe`](Self::observe), of a time in seconds that is not added up; `None` where there is nothing to tell.
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

//! Traces of the service go to the collector that is configured, where one is.

#[cfg(feature = "otlp")]
pub(crate) use with::{begin, end};
#[cfg(not(feature = "otlp"))]
pub(crate) use without::{begin, end};

#[cfg(feature = "otlp")]
mod with {
    use percent_encoding::percent_decode_str;
    use server::traces::{Collector, Sending};
    use store::{Error, Result};

    use crate::settings::Settings;

    /// Begins to send them, where somebody says where to.
    ///
    /// # Errors
    /// `Config` for settings that are none.
    pub(crate) fn begin(settings: &Settings) -> Result<Option<Sending>> {
        let Some(endpoint) = settings.text("telemetry.otlp_endpoint")? else { return Ok(None) };
        let headers = settings.text("telemetry.otlp_headers")?.unwrap_or_default();
        let sample_ratio = settings.fraction("telemetry.sample_ratio")?.unwrap_or(1.0);
        Collector { endpoint, headers: headers_of(&headers)?, sample_ratio }.start().map(Some)
    }

    /// Sends the last of them.
    pub(crate) fn end(sending: Option<Sending>) {
        sending.into_iter().for_each(Sending::end);
    }

    /// `NAME=VALUE,NAME=VALUE`, values percent-encoded, as the specification of the exporter has it.
    fn headers_of(text: &str) -> Result<Vec<(String, String)>> {
        let header = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value.into_owned()))
        };
        let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
        pairs.map(header).collect::<Option<_>>().ok_or_else(|| {
            Error::config("telemetry.otlp_headers are no headers").with_hint("write NAME=VALUE,NAME=VALUE")
        })
    }

    #[cfg(test)]
    mod tests {
        use super::headers_of;

        #[test]
        fn headers_are_pairs() {
            let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            for (text, expected) in [
                ("", Some(vec![])),
                ("authorization=Bearer%20a=b", Some(vec![pair("authorization", "Bearer a=b")])),
                (" a = 1 ,b=2,", Some(vec![pair("a", "1"), pair("b", "2")])),
                ("a", None),
                ("=a", None),
                ("a=%ff", None),
            ] {
                assert_eq!(headers_of(text).ok(), expected, "{text}");
            }
            let error = headers_of("canary").expect_err("no pair");
            assert!(!format!("{error:?}").contains("canary") && error.hint().is_some(), "{error:?}");
        }
    }
}

#[cfg(not(feature = "otlp"))]
mod without {
    use store::{Error, Result};

    use crate::settings::Settings;

    /// Refuses an endpoint that this build cannot send to.
    ///
    /// # Errors
    /// `Unsupported` where one is configured.
    pub(crate) fn begin(settings: &Settings) -> Result<()> {
        match settings.text("telemetry.otlp_endpoint")? {
            None => Ok(()),
            Some(_) => Err(Error::unsupported("traces are to be sent, and this build cannot")
                .with_hint("build with the feature `otlp`, or leave out telemetry.otlp_endpoint")),
        }
    }

    /// Nothing was begun.
    pub(crate) fn end((): ()) {}
}

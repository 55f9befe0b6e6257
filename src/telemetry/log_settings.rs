//! Section `[log]`.

use repserve_settings::{rule, settings};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

settings! {
    /// The log, which goes to stderr.
    pub struct LogSettings {
        /// error, warn, info, debug, trace or off; also filters by module, such as "info,repserve::http=debug". Refused requests make
        /// a line of each kind (route and code) in ten seconds, with their count and an example; debug logs each.
        #[allowed(rule(
            "error, warn, info, debug, trace or off, or a list such as \"info,repserve::http=debug\"",
            |log: &LogSettings| log.filter().is_ok(),
        ))]
        level: String = "info".to_owned(),
        /// text (readable) or json (a line an event).
        format: LogFormat = LogFormat::Text,
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors: a JSON object a line.
    Json,
}

/// What a level may be.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Not a filter of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{directive:?} is not one of {}, alone or as module=level", LEVELS.join(", "))]
pub(crate) struct LevelError {
    directive: String,
}

impl LogSettings {
    /// The filter that `level` describes. A bare word must be a level: [`EnvFilter`] alone takes `infoo` for a module.
    pub(crate) fn filter(&self) -> Result<EnvFilter, LevelError> {
        let refused = |directive: &str| LevelError {
            directive: directive.to_owned(),
        };
        if self.level.trim().is_empty() {
            return Err(refused(&self.level));
        }
        let directives: Vec<&str> = self.level.split(',').map(str::trim).collect();
        // Filters by span, such as `[span{field=value}]=debug`, are left to the parser.
        let by_span = |directive: &&str| directive.contains(['[', ']', '{', '}', '"']);
        for directive in directives.iter().copied().filter(|d| !by_span(d)) {
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
            if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                return Err(refused(directive));
            }
        }
        EnvFilter::builder()
            .parse(directives.join(","))
            .map_err(|_| refused(&self.level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_do_not_exist_are_refused() {
        let check = |level: &str, good: bool| {
            let settings = LogSettings {
                level: level.to_owned(),
                ..LogSettings::default()
            };
            assert_eq!(settings.filter().is_ok(), good, "{level:?}");
        };
        for good in [
            "info",
            "OFF",
            "warn, hyper=debug",
            "info,repserve::http=trace",
            "[request{id=7}]=debug",
        ] {
            check(good, true);
        }
        for bad in [
            "infoo",
            "",
            " ",
            "info,",
            "repserve=debg",
            "info,repserve",
            "3",
            "info,repserve=",
            "info;debug",
        ] {
            check(bad, false);
        }
    }

    #[test]
    fn what_is_refused_is_named_with_what_is_possible() {
        let settings = LogSettings {
            level: "info,repserve=debg".to_owned(),
            ..LogSettings::default()
        };
        assert_eq!(
            settings.filter().unwrap_err().to_string(),
            "\"repserve=debg\" is not one of error, warn, info, debug, trace, off, alone or as module=level"
        );
    }
}

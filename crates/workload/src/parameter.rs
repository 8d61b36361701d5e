//! Parameters: one declaration serves flags, plans, help texts and the effective values in a record.

use std::collections::BTreeMap;

use store::{Error, Result, did_you_mean};

/// What values a parameter takes.
#[derive(Debug, Clone, Copy)]
pub enum ParameterKind {
    /// A whole number in the range, bounds included.
    Integer {
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
    },
    /// A number in the range, bounds included.
    Real {
        /// Least.
        min: f64,
        /// Greatest.
        max: f64,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text that the workload checks itself.
    Text,
}

/// One parameter of a workload.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// The name, `snake_case`, unit last.
    pub name: &'static str,
    /// What values it takes.
    pub kind: ParameterKind,
    /// The default, as a user would type it; empty where it derives from others.
    pub default: &'static str,
    /// One line.
    pub summary: &'static str,
}

/// Values that a user gave, by parameter, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Sets a value, replacing an earlier one.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// What was given, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses names that are not declared.
    ///
    /// # Errors
    /// `Config`, naming the parameter and the nearest one that exists.
    pub fn check(&self, workload: &str, declared: &[Parameter]) -> Result<()> {
        for name in self.0.keys() {
            if !declared.iter().any(|parameter| parameter.name == name) {
                let names = || declared.iter().map(|parameter| parameter.name);
                let error = Error::config(format!("workload `{workload}` has no parameter `{name}`"));
                return Err(match did_you_mean(name, names()) {
                    Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                    None => error.with_hint(format!("it has {}", names().collect::<Vec<_>>().join(", "))),
                });
            }
        }
        Ok(())
    }

    /// What was given for a parameter, else its default.
    pub fn text<'a>(&'a self, parameter: &'a Parameter) -> &'a str {
        self.0.get(parameter.name).map_or(parameter.default, String::as_str)
    }

    /// A whole number of an [`ParameterKind::Integer`].
    ///
    /// # Errors
    /// `Config`, naming the parameter and its range.
    pub fn integer(&self, parameter: &Parameter) -> Result<u64> {
        let ParameterKind::Integer { min, max } = parameter.kind else {
            return Err(Error::bug(format!("parameter `{}` is not declared as a whole number", parameter.name)));
        };
        let typed = self.text(parameter);
        match typed.replace('_', "").parse::<u64>() {
            Ok(value) if (min..=max).contains(&value) => Ok(value),
            _ => Err(Error::config(format!("parameter `{}={typed}` is not usable", parameter.name))
                .with_hint(format!("use a whole number from {min} to {max}"))),
        }
    }

    /// A number of a [`ParameterKind::Real`].
    ///
    /// # Errors
    /// `Config`, naming the parameter and its range.
    pub fn real(&self, parameter: &Parameter) -> Result<f64> {
        let ParameterKind::Real { min, max } = parameter.kind else {
            return Err(Error::bug(format!("parameter `{}` is not declared as a number", parameter.name)));
        };
        let typed = self.text(parameter);
        match typed.parse::<f64>() {
            Ok(value) if (min..=max).contains(&value) => Ok(value),
            _ => Err(Error::config(format!("parameter `{}={typed}` is not usable", parameter.name))
                .with_hint(format!("use a number from {min} to {max}"))),
        }
    }

    /// The value of a [`ParameterKind::Flag`].
    ///
    /// # Errors
    /// `Config`, naming the parameter.
    pub fn flag(&self, parameter: &Parameter) -> Result<bool> {
        match self.text(parameter) {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            typed => Err(Error::config(format!("parameter `{}={typed}` is not usable", parameter.name))
                .with_hint("use true or false")),
        }
    }

    /// The value of a [`ParameterKind::Choice`].
    ///
    /// # Errors
    /// `Config`, naming the parameter and the nearest choice.
    pub fn choice(&self, parameter: &Parameter) -> Result<&'static str> {
        let ParameterKind::Choice(choices) = parameter.kind else {
            return Err(Error::bug(format!("parameter `{}` is not declared as a choice", parameter.name)));
        };
        let typed = self.text(parameter);
        choices.iter().copied().find(|choice| *choice == typed).ok_or_else(|| {
            let error = Error::config(format!("parameter `{}={typed}` is not usable", parameter.name));
            match did_you_mean(typed, choices.iter().copied()) {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error.with_hint(format!("use one of {}", choices.join(", "))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: Parameter =
        Parameter { name: "rows", kind: ParameterKind::Integer { min: 1, max: 10 }, default: "5", summary: "" };
    const ORDER: Parameter = Parameter {
        name: "order",
        kind: ParameterKind::Choice(&["hashed", "ordered"]),
        default: "hashed",
        summary: "",
    };

    #[test]
    fn values_are_checked_and_defaults_apply() {
        let mut settings = Settings::default();
        assert_eq!(settings.integer(&ROWS).expect("default"), 5);
        settings.set("rows", "11");
        let error = settings.integer(&ROWS).expect_err("out of range");
        assert_eq!(error.hint(), Some("use a whole number from 1 to 10"));
        settings.set("order", "hased");
        assert_eq!(settings.choice(&ORDER).expect_err("misspelt").hint(), Some("did you mean `hashed`?"));
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        let mut settings = Settings::default();
        settings.set("rosw", "1");
        let error = settings.check("x", &[ROWS, ORDER]).expect_err("unknown");
        assert_eq!(error.hint(), Some("did you mean `rows`?"));
    }
}

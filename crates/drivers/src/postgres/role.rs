//! Which of several servers will do, as libpq's `target_session_attrs` has it.

use ::store::{Error, Result, Target};

use super::address::SESSION_OPTION;

/// Asks a server that does not tell by itself (before version 14) whether it is a standby and whether it takes writes.
pub(super) const ASK: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'on' ELSE 'off' END, \
    pg_catalog.current_setting('transaction_read_only')";

/// Which servers will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Each that lets us in.
    Any,
    /// Those whose transactions may write.
    ReadWrite,
    /// Those whose transactions may not.
    ReadOnly,
    /// The one that others follow.
    Primary,
    /// Those that follow it.
    Standby,
    /// Those that follow it, or where none does, each that lets us in.
    PreferStandby,
}

/// What a server says of itself when it lets us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// Whether it follows another one.
    pub(super) is_standby: Option<bool>,
    /// Whether transactions may not write unless they ask for it.
    pub(super) is_read_only: Option<bool>,
}

impl Role {
    const NAMES: [(&'static str, Self); 6] = [
        ("any", Self::Any),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("primary", Self::Primary),
        ("standby", Self::Standby),
        ("prefer-standby", Self::PreferStandby),
    ];

    /// What the target wants.
    pub(super) fn of(target: &Target) -> Result<Self> {
        let Some(wanted) = target.option(SESSION_OPTION.name) else { return Ok(Self::Any) };
        let known = Self::NAMES.iter().find(|(name, _)| *name == wanted);
        known.map(|(_, role)| *role).ok_or_else(|| {
            Error::config(format!("the target's `{}={wanted}` is unknown", SESSION_OPTION.name))
                .with_hint(format!("use one of {}", Self::NAMES.map(|(name, _)| name).join(", ")))
        })
    }

    /// What is looked for first, and where no server is like that, next.
    pub(super) fn passes(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }

    /// Whether such a server will do; none where it did not say enough of itself.
    pub(super) fn suits(self, standing: Standing) -> Option<bool> {
        let Standing { is_standby, is_read_only } = standing;
        match self {
            Self::Any | Self::PreferStandby => Some(true),
            // A standby is read-only whatever its setting is.
            Self::ReadWrite => Some(!is_standby? && !is_read_only?),
            Self::ReadOnly => Some(is_standby? || is_read_only?),
            Self::Primary => is_standby.map(|is_standby| !is_standby),
            Self::Standby => is_standby,
        }
    }

    /// What is looked for, in a message.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Any | Self::PreferStandby => "that lets us in",
            Self::ReadWrite => "that takes writes",
            Self::ReadOnly => "that only reads",
            Self::Primary => "that is a primary",
            Self::Standby => "that is a standby",
        }
    }
}

impl Standing {
    /// Takes note of a parameter's status.
    pub(super) fn note(&mut self, name: &str, value: &str) {
        match name {
            "in_hot_standby" => self.is_standby = Some(value == "on"),
            "default_transaction_read_only" => self.is_read_only = Some(value == "on"),
            _ => {}
        }
    }

    /// What it is, in a message.
    pub(super) fn text(self) -> &'static str {
        match (self.is_standby, self.is_read_only) {
            (Some(true), _) => "a standby",
            (_, Some(true)) => "read-only",
            (Some(false), _) => "a primary",
            (None, _) => "a server",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_will_do_as_libpq_has_it() {
        let standing = |standby, read_only| Standing { is_standby: Some(standby), is_read_only: Some(read_only) };
        let (primary, standby, closed) = (standing(false, false), standing(true, false), standing(false, true));
        for (name, expect) in [
            ("any", [true, true, true]),
            ("read-write", [true, false, false]),
            ("read-only", [false, true, true]),
            ("primary", [true, false, true]),
            ("standby", [false, true, false]),
        ] {
            let url = format!("postgres://h?target_session_attrs={name}");
            let role = Role::of(&Target::parse(&url).expect("a URL")).expect("known");
            let found = [primary, standby, closed].map(|standing| role.suits(standing));
            assert_eq!(found, expect.map(Some), "{name}");
            assert_eq!(role.passes(), [role]);
        }
        assert_eq!(Role::ReadWrite.suits(Standing::default()), None);
        assert_eq!(Role::PreferStandby.passes(), [Role::Standby, Role::Any]);
    }

    #[test]
    fn what_servers_report_is_noted() {
        let mut standing = Standing::default();
        standing.note("in_hot_standby", "on");
        standing.note("default_transaction_read_only", "off");
        standing.note("TimeZone", "on");
        assert_eq!(standing, Standing { is_standby: Some(true), is_read_only: Some(false) });
    }
}

//! Who may use which route: one line a method and path, and a route without a line is used by nobody.
//!
//! A test walks the OpenAPI document and fails for a route that has no line, and for a line that no route has.

use axum::http::Method;

use super::Role;

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Everybody, without a token: whether the service lives and can work, for probes, which have none.
    Anybody,
    /// Whoever has at least this role.
    Role(Role),
}

const ANYBODY: Rule = Rule::Anybody;
const VIEWER: Rule = Rule::Role(Role::Viewer);
const OPERATOR: Rule = Rule::Role(Role::Operator);
const ADMIN: Rule = Rule::Role(Role::Admin);

/// Every rule, by path. A path with a slash at its end has the rule of the path without.
pub(crate) static RULES: &[(Method, &str, Rule)] = &[
    (Method::GET, "/", VIEWER),
    (Method::GET, "/api/v1/audit", ADMIN),
    (Method::POST, "/api/v1/comparisons", OPERATOR),
    (Method::GET, "/api/v1/experiments", VIEWER),
    (Method::POST, "/api/v1/experiments", OPERATOR),
    (Method::DELETE, "/api/v1/experiments/{id}", OPERATOR),
    (Method::GET, "/api/v1/experiments/{id}", VIEWER),
    (Method::POST, "/api/v1/experiments/{id}/cancel", OPERATOR),
    (Method::POST, "/api/v1/experiments/{id}/run", OPERATOR),
    (Method::GET, "/api/v1/exports", VIEWER),
    (Method::GET, "/api/v1/plans", VIEWER),
    (Method::DELETE, "/api/v1/plans/{name}", OPERATOR),
    (Method::GET, "/api/v1/plans/{name}", VIEWER),
    (Method::PUT, "/api/v1/plans/{name}", OPERATOR),
    (Method::POST, "/api/v1/plans/{name}/run", OPERATOR),
    (Method::GET, "/api/v1/runs", VIEWER),
    (Method::GET, "/api/v1/runs/{id}", VIEWER),
    (Method::DELETE, "/api/v1/runs/{id}", OPERATOR),
    (Method::GET, "/api/v1/runs/{id}/artifacts", VIEWER),
    (Method::GET, "/api/v1/runs/{id}/artifacts/{name}", VIEWER),
    (Method::POST, "/api/v1/runs/{id}/cancel", OPERATOR),
    (Method::GET, "/api/v1/runs/{id}/exports/{format}", VIEWER),
    (Method::GET, "/api/v1/runs/{id}/live", VIEWER),
    (Method::GET, "/api/v1/runs/{id}/report", VIEWER),
    (Method::GET, "/api/v1/runs/{id}/samples", VIEWER),
    (Method::POST, "/api/v1/stop", ADMIN),
    (Method::GET, "/api/v1/stores", VIEWER),
    (Method::GET, "/api/v1/stores/{name}", VIEWER),
    (Method::GET, "/api/v1/targets", VIEWER),
    (Method::POST, "/api/v1/targets", ADMIN),
    (Method::DELETE, "/api/v1/targets/{id}", ADMIN),
    (Method::POST, "/api/v1/thresholds/check", VIEWER),
    (Method::GET, "/api/v1/tokens", ADMIN),
    (Method::POST, "/api/v1/tokens", ADMIN),
    (Method::DELETE, "/api/v1/tokens/{id}", ADMIN),
    (Method::GET, "/api/v1/workloads", VIEWER),
    (Method::GET, "/api/v1/workloads/{name}", VIEWER),
    (Method::GET, "/docs", VIEWER),
    (Method::GET, "/health", VIEWER),
    (Method::GET, "/health/live", ANYBODY),
    (Method::GET, "/health/ready", ANYBODY),
    (Method::GET, "/metrics", VIEWER),
    (Method::GET, "/openapi.json", VIEWER),
];

/// The rule of a route. What may be read may be asked for its head.
pub(crate) fn of(method: &Method, path: &str) -> Option<Rule> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let path = without_slash(path);
    RULES.iter().find(|(known, route, _)| known == method && *route == path).map(|(_, _, rule)| *rule)
}

/// Whether the path is known, but not for that method: then the router answers, and not the rule.
pub(crate) fn has_method(method: &Method, path: &str) -> bool {
    let path = without_slash(path);
    let is_known = RULES.iter().any(|(_, route, _)| *route == path);
    !is_known || of(method, path).is_some()
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_in_order_and_not_double() {
        let keys: Vec<_> = RULES.iter().map(|(method, path, _)| (*path, method.as_str())).collect();
        let mut sorted = keys.clone();
        sorted.sort_by_key(|(path, _)| *path);
        sorted.dedup();
        assert_eq!(keys, sorted);
    }

    #[test]
    fn a_route_without_a_line_has_no_rule() {
        assert_eq!(of(&Method::GET, "/metrics"), Some(VIEWER));
        assert_eq!(of(&Method::HEAD, "/metrics/"), Some(VIEWER));
        assert_eq!(of(&Method::POST, "/metrics"), None);
        assert_eq!(of(&Method::GET, "/elsewhere"), None);
        assert!(!has_method(&Method::TRACE, "/metrics") && has_method(&Method::GET, "/elsewhere"));
    }
}

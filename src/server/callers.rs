//! Who may call which path.
//!
//! Cloud Run has checked the identity token before a request arrives, and passes it on without its signature. So the
//! token's account is read here, and not verified: a service that Cloud Run lets anybody call has no callers to tell apart.

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::config::CallersConfig;

/// Cloud Run checks this one instead, when a request has both.
const SERVERLESS: &str = "x-serverless-authorization";

/// Refuses a caller that a path is not for. `None`: it may go on.
pub(super) fn refusal(callers: &CallersConfig, path: &str, headers: &HeaderMap) -> Option<Response> {
    let (variable, allowed) = callers.of(path)?;
    let account = account(headers);
    if account.as_ref().is_some_and(|account| allowed.contains(account)) {
        return None;
    }
    let error = match &account {
        Some(account) => format!("{account} may not call {path}: {variable} does not list it."),
        None => {
            format!("{path} wants an identity token with a verified e-mail address that {variable} lists.")
        }
    };
    tracing::warn!("refused: {error}");
    Some((StatusCode::FORBIDDEN, Json(json!({"error": error}))).into_response())
}

/// The account in the token that Cloud Run has checked.
fn account(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(SERVERLESS).iter();
    let mut others = headers.get_all(header::AUTHORIZATION).iter();
    let (value, second) = match values.next() {
        Some(value) => (value, values.next()),
        None => (others.next()?, others.next()),
    };
    if second.is_some() {
        return None;
    }
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let claims = token.trim().split('.').nth(1).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let verified = claims["email_verified"] == true;
    claims["email"].as_str().filter(|email| verified && email.len() <= 320).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &Value) -> String {
        format!("Bearer e30.{}.SIGNATURE_REMOVED_BY_GOOGLE", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn of(email: &str) -> String {
        token(&json!({"email": email, "email_verified": true}))
    }

    fn account_of<const N: usize>(headers: [(&'static str, String); N]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        account(&map)
    }

    #[test]
    fn the_account_is_the_verified_address_in_the_token() {
        let named = |value: String| account_of([("authorization", value)]);
        assert_eq!(
            named(of("Ci@P.iam.gserviceaccount.com")).as_deref(),
            Some("ci@p.iam.gserviceaccount.com")
        );
        assert_eq!(named(of("a@b.c").replace("Bearer", "bearer")).as_deref(), Some("a@b.c"));
        let no_account = [
            token(&json!({"email": "a@b.c"})),
            token(&json!({"email": "a@b.c", "email_verified": "true"})),
            token(&json!({"email_verified": true})),
            token(&json!([1])),
            of(&format!("{}@b.c", "a".repeat(400))),
            of("a@b.c").replace("Bearer", "Basic"),
            "Bearer".into(),
            "Bearer x".into(),
            "Bearer a.!.b".into(),
            String::new(),
        ];
        for value in no_account {
            assert_eq!(named(value.clone()), None, "{value}");
        }
        assert_eq!(account_of([]), None);
    }

    /// Cloud Run checks `X-Serverless-Authorization` alone when it is there, and passes the other one on as it came.
    #[test]
    fn the_token_that_cloud_run_did_not_check_is_not_read() {
        let (ours, forged) = (of("pipeline@b.c"), of("trigger@b.c"));
        let both = [("authorization", forged.clone()), (SERVERLESS, ours.clone())];
        assert_eq!(account_of(both).as_deref(), Some("pipeline@b.c"));
        assert_eq!(account_of([("authorization", forged.clone()), (SERVERLESS, "Bearer x".into())]), None);
        assert_eq!(account_of([("authorization", ours.clone()), ("authorization", forged.clone())]), None);
        assert_eq!(account_of([(SERVERLESS, ours), (SERVERLESS, forged)]), None);
    }
}

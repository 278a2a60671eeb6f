//! Access tokens: the OAuth 2.0 token endpoint gives one for a signed claim, whose signature is taken on trust, and the
//! metadata server to whoever runs where it is.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Url;
use serde_json::{Value, json};

use super::wire::{Reply, Request, refusal};
use super::world::World;

pub const ACCOUNT: &str = "runback@demo-project.iam.gserviceaccount.com";
const THROW_AWAY_KEY: &str = include_str!("../../fixtures/throw-away-test-key.pem");

/// A service account key file whose tokens come from this world. The key opens nothing anywhere.
pub fn credentials(base: &str) -> Value {
    json!({
        "type": "service_account", "project_id": "demo-project", "private_key_id": "0".repeat(40),
        "private_key": THROW_AWAY_KEY, "client_email": ACCOUNT, "client_id": "123456789012345678901",
        "auth_uri": format!("{base}/auth"), "token_uri": format!("{base}/token"),
        "auth_provider_x509_cert_url": format!("{base}/certs"), "client_x509_cert_url": format!("{base}/x509"),
        "universe_domain": "googleapis.com",
    })
}

pub fn issue(world: &mut World, request: &Request) -> Result<Reply, Reply> {
    let claims = claims(&request.body).unwrap_or_default();
    let audience = format!("{}/token", world.base);
    if claims["iss"] != ACCOUNT || claims["aud"] != json!(audience) || !claims["scope"].is_string() {
        return Err(refusal(400, "invalid_grant: Invalid JWT."));
    }
    Ok(granted(world))
}

/// What the metadata server says of the account that an instance runs as.
pub fn metadata(world: &mut World, what: &str) -> Result<Reply, Reply> {
    match what {
        "token" => Ok(granted(world)),
        "email" => Ok(Reply::text(200, ACCOUNT)),
        "identity" => Ok(Reply::text(200, "an.identity.token")),
        _ => Err(Reply::text(404, "Not Found")),
    }
}

fn granted(world: &mut World) -> Reply {
    let token = format!("ya29.c.simulated-{}", world.tokens.len());
    world.tokens.insert(token.clone());
    Reply::json(&json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}))
}

pub fn check(world: &World, request: &Request) -> Result<(), Reply> {
    let token = request.authorization.strip_prefix("Bearer ").unwrap_or_default();
    let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or \
                   other valid authentication credential.";
    world.tokens.contains(token).then_some(()).ok_or_else(|| refusal(401, message))
}

fn claims(form: &[u8]) -> Option<Value> {
    let form = Url::parse(&format!("http://form/?{}", str::from_utf8(form).ok()?)).ok()?;
    let (_, assertion) = form.query_pairs().find(|(name, _)| name == "assertion")?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&claims).ok()
}

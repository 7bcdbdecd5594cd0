//! The claims of a token (RFC 7519) that are checked here; all others only pass through.

use plugin_config::Period;
use serde::Deserialize;
use serde_json::Value;

/// The claims of a token.
#[derive(Deserialize)]
pub struct Claims {
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Value>,
    sub: Option<String>,
}

/// The claims that the configuration requires.
pub struct Wanted {
    /// The issuer.
    pub issuer: Option<String>,
    /// Audiences, of which a token must name one; if empty, any passes.
    pub audiences: Vec<String>,
    /// The tolerated difference of clocks.
    pub leeway: Period,
    /// Whether a token must expire.
    pub require_exp: bool,
}

impl Claims {
    /// Reads a payload, which is a JSON object.
    pub fn parse(payload: &str) -> Result<Self, String> {
        serde_json::from_str(payload).map_err(|_| "its claims have the wrong form".to_owned())
    }

    /// Checks the claims at a time in milliseconds since 1970. The error names the first wrong claim.
    pub fn check(&self, wanted: &Wanted, now: u64) -> Result<(), String> {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds are exact in a float for 285,000 years")]
        let (now, leeway) = (now as f64 / 1_000.0, wanted.leeway.milliseconds() as f64 / 1_000.0);
        match self.exp {
            Some(exp) if now >= exp + leeway => return Err("it has expired".to_owned()),
            None if wanted.require_exp => return Err("it never expires".to_owned()),
            _ => {}
        }
        if self.nbf.is_some_and(|nbf| now + leeway < nbf) {
            return Err("it is not valid yet".to_owned());
        }
        if wanted.issuer.is_some() && wanted.issuer != self.iss {
            return Err("it is from another issuer".to_owned());
        }
        if !wanted.audiences.is_empty() && !self.is_for(&wanted.audiences) {
            return Err("it is for another audience".to_owned());
        }
        Ok(())
    }

    /// The subject as JSON.
    pub fn caller(&self) -> Option<String> {
        self.sub.clone().filter(|subject| !subject.is_empty()).map(|subject| Value::String(subject).to_string())
    }

    fn is_for(&self, audiences: &[String]) -> bool {
        let is_wanted =
            |named: &Value| named.as_str().is_some_and(|named| audiences.iter().any(|wanted| wanted == named));
        match &self.aud {
            Some(Value::Array(named)) => named.iter().any(is_wanted),
            Some(named) => is_wanted(named),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_500;

    fn wanted() -> Wanted {
        Wanted { issuer: None, audiences: Vec::new(), leeway: Period::seconds(0), require_exp: false }
    }

    fn check(claims: &str, wanted: &Wanted) -> Result<(), String> {
        Claims::parse(claims)?.check(wanted, NOW)
    }

    #[test]
    fn times_are_checked_to_the_leeway() {
        let lenient = Wanted { leeway: Period::seconds(10), ..wanted() };
        for (claims, strict, leeway) in [
            (r#"{"exp":1800000000}"#, false, true),
            (r#"{"exp":1800000000.5}"#, false, true),
            (r#"{"exp":1800000001}"#, true, true),
            (r#"{"exp":1799999990}"#, false, false),
            (r#"{"nbf":1800000000}"#, true, true),
            (r#"{"nbf":1800000001}"#, false, true),
            (r#"{"nbf":1800000011}"#, false, false),
            (r#"{"exp":1e300,"nbf":-1}"#, true, true),
            ("{}", true, true),
        ] {
            assert_eq!(check(claims, &wanted()).is_ok(), strict, "{claims}");
            assert_eq!(check(claims, &lenient).is_ok(), leeway, "{claims}, 10 s");
        }
    }

    #[test]
    fn an_end_can_be_wanted() {
        let wanted = Wanted { require_exp: true, ..wanted() };
        assert_eq!(check("{}", &wanted).unwrap_err(), "it never expires");
        assert!(check(r#"{"exp":1900000000}"#, &wanted).is_ok());
    }

    #[test]
    fn issuer_and_audience_have_to_be_those_wanted() {
        let wanted =
            Wanted { issuer: Some("me".to_owned()), audiences: vec!["a".to_owned(), "b".to_owned()], ..wanted() };
        for good in [r#"{"iss":"me","aud":"a"}"#, r#"{"iss":"me","aud":["x","b"]}"#] {
            assert_eq!(check(good, &wanted), Ok(()), "{good}");
        }
        for (bad, reason) in [
            (r#"{"aud":"a"}"#, "it is from another issuer"),
            (r#"{"iss":"you","aud":"a"}"#, "it is from another issuer"),
            (r#"{"iss":"me"}"#, "it is for another audience"),
            (r#"{"iss":"me","aud":"c"}"#, "it is for another audience"),
            (r#"{"iss":"me","aud":["ab"]}"#, "it is for another audience"),
            (r#"{"iss":"me","aud":{"a":1}}"#, "it is for another audience"),
        ] {
            assert_eq!(check(bad, &wanted).unwrap_err(), reason, "{bad}");
        }
    }

    #[test]
    fn claims_of_the_wrong_form_are_refused() {
        for bad in
            [r#"{"exp":"1900000000"}"#, r#"{"exp":1,"exp":1900000000}"#, r#"{"sub":5}"#, r#"{"iss":["me"]}"#, "{"]
        {
            assert!(Claims::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_subject_is_the_caller() {
        assert_eq!(Claims::parse(r#"{"sub":"al\"ice"}"#).unwrap().caller().as_deref(), Some(r#""al\"ice""#));
        assert_eq!(Claims::parse(r#"{"sub":""}"#).unwrap().caller(), None);
        assert_eq!(Claims::parse("{}").unwrap().caller(), None);
    }
}

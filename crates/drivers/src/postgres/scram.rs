//! SCRAM-SHA-256 as RFC 5802 and RFC 7677 have it, without channel binding: each side proves that it knows the password.
//!
//! What costs is deriving a key from the password, 4,096 rounds on one product and 119,680 on another: the key is kept for
//! the next connection, which a server greets with the same salt.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use ::store::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2, rand};

/// How the mechanism is called.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

/// A server that asks for more rounds wants to keep us busy: this many take a quarter of a second.
const ROUNDS_MAX: u32 = 1_000_000;
/// Random bytes of a nonce; RFC 5802 leaves the number open, libpq takes as many.
const NONCE_BYTES: usize = 18;
/// No client binds the channel or names an authorisation identity here: `n,,` in base64.
const HEADER: &str = "n,,";
const HEADER_BASE64: &str = "biws";

/// What was derived from the password for the last connection.
pub(super) type Kept = Arc<Mutex<Option<Derived>>>;

/// A key, and what it was derived with.
pub(super) struct Derived {
    salt: Vec<u8>,
    rounds: NonZeroU32,
    key: [u8; digest::SHA256_OUTPUT_LEN],
}

/// One side of the exchange.
pub(super) struct Scram {
    nonce: String,
    kept: Kept,
    /// What the server must prove to know, once we have shown that we do.
    expected: Option<hmac::Tag>,
}

/// What is wrong with what the server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is not in the protocol.
    NotInProtocol,
    /// It asks for too many rounds.
    TooManyRounds(u32),
    /// It does not know the password.
    NoProof,
}

impl Scram {
    /// A new exchange.
    pub(super) fn new(kept: Kept) -> Result<Self> {
        let mut bytes = [0; NONCE_BYTES];
        rand::SecureRandom::fill(&rand::SystemRandom::new(), &mut bytes)
            .map_err(|_| Error::config("the operating system gives no random numbers"))?;
        Ok(Self { nonce: STANDARD.encode(bytes), kept, expected: None })
    }

    /// What is said first.
    pub(super) fn first(&self) -> String {
        format!("{HEADER}{}", self.bare())
    }

    fn bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// The answer to the server's first words: that we know the password.
    pub(super) fn proof(&mut self, password: &str, challenge: &[u8]) -> Result<String, Failure> {
        let challenge = std::str::from_utf8(challenge).map_err(|_| Failure::NotInProtocol)?;
        let mut parts = challenge.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(Failure::NotInProtocol);
        let (nonce, salt, rounds) = (part("r=")?, part("s=")?, part("i=")?);
        // The server's own part comes behind ours; without one it could repeat what it heard elsewhere.
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Failure::NotInProtocol);
        }
        let salt = STANDARD.decode(salt).map_err(|_| Failure::NotInProtocol)?;
        let rounds: NonZeroU32 = rounds.parse().map_err(|_| Failure::NotInProtocol)?;
        if rounds.get() > ROUNDS_MAX {
            return Err(Failure::TooManyRounds(rounds.get()));
        }
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &self.derive(password, salt, rounds));
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let last = format!("c={HEADER_BASE64},r={nonce}");
        let spoken = format!("{},{challenge},{last}", self.bare());
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, stored_key.as_ref()), spoken.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, sign)| key ^ sign).collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        let server_key = hmac::Key::new(hmac::HMAC_SHA256, server_key.as_ref());
        self.expected = Some(hmac::sign(&server_key, spoken.as_bytes()));
        Ok(format!("{last},p={}", STANDARD.encode(proof)))
    }

    /// Looks whether the server's last words prove that it knows the password as well.
    pub(super) fn check(&mut self, last: &[u8]) -> Result<(), Failure> {
        let expected = self.expected.take().ok_or(Failure::NotInProtocol)?;
        let proof = last.strip_prefix(b"v=").ok_or(Failure::NoProof)?;
        let proof = STANDARD.decode(proof).map_err(|_| Failure::NotInProtocol)?;
        // Whoever measures how long a comparison takes has an exchange of its own each time.
        if proof == expected.as_ref() { Ok(()) } else { Err(Failure::NoProof) }
    }

    fn derive(&self, password: &str, salt: Vec<u8>, rounds: NonZeroU32) -> [u8; digest::SHA256_OUTPUT_LEN] {
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(derived) = kept.as_ref().filter(|derived| derived.salt == salt && derived.rounds == rounds) {
                return derived.key;
            }
        }
        // What cannot be prepared is taken as it is, as the server does.
        let prepared = stringprep::saslprep(password).unwrap_or(password.into());
        let mut key = [0; digest::SHA256_OUTPUT_LEN];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, prepared.as_bytes(), &mut key);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Derived { salt, rounds, key });
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the nonce, salt and rounds of RFC 7677's example, which names a user where `PostgreSQL` names none.
    fn example() -> Scram {
        Scram { nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(), kept: Kept::default(), expected: None }
    }

    const CHALLENGE: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn the_derived_key_is_the_standards() {
        let mut scram = example();
        let proof = scram.proof("pencil", CHALLENGE).expect("a challenge");
        assert!(proof.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p="), "{proof}");
        let kept = scram.kept.lock().expect("nobody panicked");
        let key = STANDARD.encode(kept.as_ref().expect("derived").key);
        assert_eq!(key, "xKSVEDI6tPlSysH6mUQZOeeOp01r6B3fcJbodRPcYV0=");
    }

    #[test]
    fn a_kept_key_gives_the_same_proof_and_another_salt_another_key() {
        let mut first = example();
        let proof = first.proof("pencil", CHALLENGE).expect("a challenge");
        let mut second = Scram { kept: Arc::clone(&first.kept), ..example() };
        assert_eq!(second.proof("not asked for", CHALLENGE).expect("a challenge"), proof);
        let other = b"r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096";
        assert_ne!(second.proof("pencil", other).expect("a challenge"), proof);
    }

    #[test]
    fn what_a_server_must_not_say_is_refused() {
        for (challenge, failure) in [
            (&b"r=another,s=AAAA,i=1"[..], Failure::NotInProtocol),
            (b"r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=1", Failure::NotInProtocol),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=A,i=1", Failure::NotInProtocol),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=0", Failure::NotInProtocol),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=AAAA", Failure::NotInProtocol),
            (b"\xff", Failure::NotInProtocol),
            (b"", Failure::NotInProtocol),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=1000001", Failure::TooManyRounds(1_000_001)),
        ] {
            assert_eq!(example().proof("pencil", challenge), Err(failure), "{}", String::from_utf8_lossy(challenge));
        }
        let mut scram = example();
        assert_eq!(scram.check(b"v=AAAA"), Err(Failure::NotInProtocol), "it has not been asked yet");
        for last in [&b"v=AAAA"[..], b"e=invalid-proof", b""] {
            scram.proof("pencil", CHALLENGE).expect("a challenge");
            assert_eq!(scram.check(last), Err(Failure::NoProof));
        }
    }
}

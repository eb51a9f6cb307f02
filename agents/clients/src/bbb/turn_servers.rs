//! The file from which BBB tells its clients the TURN servers of a fleet, with the secret that coturn shares with BBB
//! ([`plan::addresses::TURN_SERVERS`]).
//!
//! BBB's documentation, "Turn Server Configuration", has the file. bbb-web reads it when it starts, and without it takes
//! the one that it ships (its `resources.groovy`); bbb-install writes it for the host's own coturn.

use plan::record::Name;
use quick_xml::escape::escape;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// How long the credentials are good that BBB makes for a client, in seconds.
const VALIDITY: &str = "86400";
const SCHEMA: &str = "http://www.springframework.org/schema/beans";
const CLASSES: &str = "org.bigbluebutton.web.services.turn";

/// The TURN servers at one name, and their secret.
#[derive(Clone, Debug)]
pub struct TurnServers {
    /// Their name.
    pub name: Name,
    /// The secret.
    pub secret: SecretString,
}

impl TurnServers {
    /// Creates them. The secret has to be a text that coturn's settings can hold, else the error says why it is not.
    pub fn new(name: Name, secret: SecretString) -> Result<Self, &'static str> {
        let text = secret.expose_secret();
        match text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Err("it is empty, or no plain text without spaces, so that coturn cannot have it either"),
            false => Ok(Self { name, secret }),
        }
    }

    /// Returns the file's content.
    pub fn file(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(escape(self.secret.expose_secret()).into_owned());
        let name = self.name.as_str();
        let servers = [format!("turn:{name}:3478"), format!("turns:{name}:443?transport=tcp")];
        // The text has its full size from the start: growing would leave copies behind that are never wiped.
        let mut text = Zeroizing::new(String::with_capacity(4096 + 2 * secret.len()));
        let mut line = |parts: &[&str]| {
            parts.iter().for_each(|part| text.push_str(part));
            text.push('\n');
        };
        line(&["<?xml version=\"1.0\" encoding=\"UTF-8\"?>"]);
        line(&[
            "<!-- bbb-agent writes this file: see bbb.turn_server and bbb.turn_secret in its settings -->",
        ]);
        line(&["<beans xmlns=\"", SCHEMA, "\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\""]);
        line(&["    xsi:schemaLocation=\"", SCHEMA, " ", SCHEMA, "/spring-beans-2.5.xsd\">"]);
        for (id, server) in ["turn0", "turn1"].into_iter().zip(&servers) {
            line(&["  <bean id=\"", id, "\" class=\"", CLASSES, ".TurnServer\">"]);
            for (index, value) in ["0", "1", "2"].into_iter().zip([secret.as_str(), server, VALIDITY]) {
                line(&["    <constructor-arg index=\"", index, "\" value=\"", value, "\"/>"]);
            }
            line(&["  </bean>"]);
        }
        line(&["  <bean id=\"stunTurnService\" class=\"", CLASSES, ".StunTurnService\">"]);
        line(&["    <property name=\"stunServers\"><set/></property>"]);
        line(&[
            "    <property name=\"turnServers\"><set><ref bean=\"turn0\"/><ref bean=\"turn1\"/></set></property>",
        ]);
        line(&["  </bean>"]);
        line(&["</beans>"]);
        text
    }
}

#[cfg(test)]
#[path = "turn_servers_tests.rs"]
mod tests;

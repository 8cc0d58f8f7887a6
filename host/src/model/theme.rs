//! How the hosted link page shows a business to its customers.

use std::fmt;
use std::str::FromStr;

/// What WCAG 2.2 (1.4.3) asks of text against what is behind it.
const CONTRAST_MIN: f64 = 4.5;
/// Bytes of a display name: it stands in headings and on buttons of a narrow page.
const DISPLAY_NAME_BYTES_MAX: usize = 80;
/// Bytes of a purpose: a sentence or two, as much as a link may bring of its own.
const PURPOSE_BYTES_MAX: usize = 256;

/// A colour that white text can be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour([u8; 3]);

/// What customers know a business by; what is not said has a default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Theme {
    /// Instead of the operator's name for the business.
    pub display_name: Option<String>,
    /// Of the page's head and buttons.
    pub colour: Option<Colour>,
    /// What it needs the data for, in words for customers, where a link does not say.
    pub purpose: Option<String>,
}

impl Colour {
    /// A calm dark blue.
    pub const DEFAULT: Self = Self([0x1d, 0x3f, 0x72]);
    const BLACK: Self = Self([0; 3]);

    /// WCAG 2.2: from 1 (white) to 21 (black).
    fn contrast_with_white(self) -> f64 {
        let linear = |channel: u8| {
            let part = f64::from(channel) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.0.map(linear);
        1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
    }

    fn is_dark_enough(self) -> bool {
        self.contrast_with_white() >= CONTRAST_MIN
    }

    /// The same hue, as light as it may be.
    fn darkened(self) -> Self {
        let scaled = |percent: u16| {
            Self(self.0.map(|channel| u8::try_from(u16::from(channel) * percent / 100).unwrap_or(0)))
        };
        (0..100).rev().map(scaled).find(|darker| darker.is_dark_enough()).unwrap_or(Self::BLACK)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(into, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl FromStr for Colour {
    type Err = String;

    /// `#rrggbb`; the error's sentence says what to do.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('#').unwrap_or_default();
        let channel = |at: usize| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let fits = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let (true, Some(red), Some(green), Some(blue)) = (fits, channel(0), channel(2), channel(4)) else {
            return Err("a colour is written #rrggbb, such as #1d3f72".to_owned());
        };
        let colour = Self([red, green, blue]);
        if colour.is_dark_enough() {
            return Ok(colour);
        }
        Err(format!(
            "{colour} is too light: white text on it has a contrast of {:.2}, and {CONTRAST_MIN} is needed; take a darker \
             one, such as {}",
            colour.contrast_with_white(),
            colour.darkened()
        ))
    }
}

impl Theme {
    /// Is everything short enough, and without control characters? The sentence says what to change.
    pub fn check(&self) -> Result<(), String> {
        let texts = [
            ("the display name", &self.display_name, DISPLAY_NAME_BYTES_MAX),
            ("the purpose", &self.purpose, PURPOSE_BYTES_MAX),
        ];
        for (what, text, max) in texts {
            let fits =
                |text: &String| (1..=max).contains(&text.trim().len()) && !text.chars().any(char::is_control);
            if !text.as_ref().is_none_or(fits) {
                return Err(format!("{what} must have 1 to {max} bytes and no control characters"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_taken_if_white_text_can_be_read_on_it() {
        for fine in ["#1d3f72", "#000000", "#767676", "#B3261E"] {
            assert_eq!(fine.parse::<Colour>().unwrap().to_string(), fine.to_lowercase());
        }
        assert!(Colour::DEFAULT.is_dark_enough());
        for (light, contrast) in [("#ffffff", "1.00"), ("#777777", "4.48"), ("#ffcc00", "1.51")] {
            let refused = light.parse::<Colour>().unwrap_err();
            assert!(refused.starts_with(&format!("{light} is too light")), "{refused}");
            assert!(refused.contains(&format!("a contrast of {contrast},")), "{refused}");
            let offered = refused.rsplit(' ').next().unwrap();
            assert!(offered.parse::<Colour>().is_ok(), "{refused}");
        }
    }

    #[test]
    fn what_is_no_colour_is_refused() {
        for text in ["", "#", "1d3f72", "#1d3f7", "#1d3f722", "#1d3f7g", "#+1+2+3", "#ééé", "red"] {
            assert_eq!(text.parse::<Colour>().unwrap_err(), "a colour is written #rrggbb, such as #1d3f72");
        }
    }

    #[test]
    fn words_are_short_and_of_one_line() {
        let named = |name: &str| Theme { display_name: Some(name.to_owned()), ..Theme::default() }.check();
        assert!(named("Corner Shop").is_ok() && Theme::default().check().is_ok());
        for name in ["", "  ", "a\nb", &"x".repeat(81)] {
            assert!(named(name).unwrap_err().starts_with("the display name must have 1 to 80 bytes"));
        }
    }
}

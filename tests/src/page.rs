//! The page as a person without a script uses it: open, read, fill a form, press a button.
//!
//! Forms are sent with everything the page put into them, so that tokens and shown versions are the page's own.
//! Refuses to know any field the page does not offer.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use scraper::{ElementRef, Html, Selector};

const REDIRECTS_MAX: usize = 5;
const ARRIVALS: &str = "/arrivals";

/// One browser at one desk.
pub struct Page {
    base: String,
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// A page that somebody has open.
pub struct OpenPage(tokio::task::JoinHandle<()>);

impl Drop for OpenPage {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the page showed.
#[derive(Clone, Debug)]
pub struct View {
    pub path: String,
    pub status: u16,
    pub html: String,
}

/// A form as it stands, ready to be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
    /// Named buttons: name, value, words on it.
    pub buttons: Vec<(String, String, String)>,
}

/// Three fields and the optional fourth.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Last, first.
    pub name: &'a str,
    pub birth_date: &'a str,
    pub reason: &'a str,
    pub phone: Option<&'a str>,
}

impl Page {
    pub fn at(base: &str) -> Result<Self> {
        Ok(Self {
            base: base.trim_end_matches('/').into(),
            http: crate::plain_http()?,
            cookies: BTreeMap::new(),
        })
    }

    /// Opens a path and follows where it leads.
    pub async fn open(&mut self, path: &str) -> Result<View> {
        self.follow(self.http.get(self.address(path)), path).await
    }

    /// Fetches a file that a page links to. `None` while there is a page in its place.
    pub async fn fetch(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        let request = self.http.get(self.address(path));
        let reply = request.header(COOKIE, self.cookie_header()).send().await?;
        let is_file = reply.status().is_success() && reply.headers().contains_key("content-disposition");
        let bytes = reply.bytes().await?;
        Ok(is_file.then(|| bytes.to_vec()))
    }

    /// Sends a form with what it holds, changed by `filled`; a name the form does not have is a pressed button.
    pub async fn submit(&mut self, form: &Form, filled: &[(&str, &str)]) -> Result<View> {
        let mut fields = form.fields.clone();
        for (name, value) in filled {
            let offered = fields.iter().any(|(field, _)| field == name);
            ensure!(
                offered || form.buttons.iter().any(|(button, ..)| button == name),
                "the form to {} has no {name}",
                form.action
            );
            fields.retain(|(field, _)| field != name);
            fields.push(((*name).into(), (*value).into()));
        }
        let sent = self.http.post(self.address(&form.action)).form(&fields);
        self.follow(sent, &form.action).await
    }

    pub async fn sign_in(&mut self, login: &str, passphrase: &str) -> Result<View> {
        let door = self.open("/sign-in").await?;
        let view = self
            .submit(
                &door.form_to("/sign-in")?,
                &[("login", login), ("passphrase", passphrase)],
            )
            .await?;
        ensure!(
            view.form_to("/sign-in").is_err(),
            "{login} was not let in: {}",
            view.text()
        );
        Ok(view)
    }

    /// Arrives a person; when look-alikes are offered, a new person is chosen. Gives the page of the arrival.
    pub async fn arrive_new(&mut self, arrival: Arrival<'_>) -> Result<View> {
        let mut answered = self.arrive(arrival).await?;
        // An answer that is no redirect asks or refuses.
        if answered.path == ARRIVALS && answered.status == 200 {
            answered = self.submit(&answered.form_to(ARRIVALS)?, &[("person", "new")]).await?;
        }
        Ok(answered)
    }

    /// Arrives a person and shows whatever the page answers, a question included.
    pub async fn arrive(&mut self, arrival: Arrival<'_>) -> Result<View> {
        let form = self.open(ARRIVALS).await?.form_to(ARRIVALS)?;
        let mut filled = vec![
            ("name", arrival.name),
            ("birth_date", arrival.birth_date),
            ("reason", arrival.reason),
        ];
        filled.extend(arrival.phone.map(|phone| ("phone", phone)));
        self.submit(&form, &filled).await
    }

    pub async fn find(&mut self, words: &str) -> Result<View> {
        let form = self.open("/find").await?.form_to("/find")?;
        self.submit(&form, &[("q", words)]).await
    }

    /// Keeps the page's stream of events open, as a browser that shows the page does, until the answer is dropped.
    pub async fn stay_open(&self) -> Result<OpenPage> {
        let asked = self
            .http
            .get(self.address("/events"))
            .header(COOKIE, self.cookie_header())
            .send()
            .await;
        let mut stream = asked.context("the page has no stream of events")?;
        ensure!(
            stream.status().is_success(),
            "the stream of events was answered {}",
            stream.status()
        );
        Ok(OpenPage(tokio::spawn(async move {
            while let Ok(Some(_)) = stream.chunk().await {}
        })))
    }

    fn cookie_header(&self) -> String {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        cookies.join("; ")
    }

    fn address(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.into()
        } else {
            format!("{}{path}", self.base)
        }
    }

    async fn follow(&mut self, mut request: reqwest::RequestBuilder, path: &str) -> Result<View> {
        let mut path = path.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let origin = self.base.clone();
            let reply = request
                .header(COOKIE, self.cookie_header())
                .header("origin", origin)
                .send()
                .await;
            let reply = reply.with_context(|| format!("the page does not answer at {path}"))?;
            self.keep_cookies(&reply);
            if reply.status().is_redirection() {
                let to = reply.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                path = to.with_context(|| format!("{path} leads nowhere"))?.to_owned();
                request = self.http.get(self.address(&path));
                continue;
            }
            let status = reply.status().as_u16();
            let html = reply
                .headers()
                .get(CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
            let body = reply.text().await?;
            ensure!(html || status >= 400, "{path} is not a page");
            return Ok(View {
                path,
                status,
                html: body,
            });
        }
        bail!("{path} leads in circles")
    }

    fn keep_cookies(&mut self, reply: &reqwest::Response) {
        for cookie in reply.headers().get_all(SET_COOKIE) {
            let Ok(cookie) = cookie.to_str() else { continue };
            let pair = cookie.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                let ended = value.is_empty() || cookie.to_ascii_lowercase().contains("max-age=0");
                if ended {
                    self.cookies.remove(name.trim());
                } else {
                    self.cookies.insert(name.trim().into(), value.trim().into());
                }
            }
        }
    }
}

impl View {
    /// Every form of the page, in order.
    pub fn forms(&self) -> Vec<Form> {
        let page = Html::parse_document(&self.html);
        chosen(page.root_element(), "form")
            .into_iter()
            .map(|form| read_form(&page, form))
            .collect()
    }

    /// The first form whose action is `action`, or begins with it when it ends in `/`.
    pub fn form_to(&self, action: &str) -> Result<Form> {
        let fits = |form: &Form| form.action == action || (action.ends_with('/') && form.action.starts_with(action));
        let found = self.forms().into_iter().find(fits);
        found.with_context(|| {
            format!(
                "{} ({}) has no form to {action}: {}",
                self.path,
                self.status,
                self.text()
            )
        })
    }

    /// The words a reader sees, with single spaces.
    pub fn text(&self) -> String {
        let page = Html::parse_document(&self.html);
        chosen(page.root_element(), "body")
            .first()
            .map(|body| words(*body))
            .unwrap_or_default()
    }

    /// The words of every element a CSS selector matches.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let page = Html::parse_document(&self.html);
        chosen(page.root_element(), selector).into_iter().map(words).collect()
    }

    /// An attribute of every element a CSS selector matches.
    pub fn attributes(&self, selector: &str, attribute: &str) -> Vec<String> {
        let page = Html::parse_document(&self.html);
        let found = chosen(page.root_element(), selector);
        found
            .into_iter()
            .filter_map(|element| element.attr(attribute).map(str::to_owned))
            .collect()
    }
}

fn chosen<'a>(within: ElementRef<'a>, selector: &str) -> Vec<ElementRef<'a>> {
    let Ok(selector) = Selector::parse(selector) else {
        return Vec::new();
    };
    within.select(&selector).collect()
}

fn words(element: ElementRef<'_>) -> String {
    let hidden = |text: &scraper::node::Text| text.trim().is_empty();
    let seen = element.descendants().filter_map(|node| {
        let text = node.value().as_text().filter(|text| !hidden(text))?;
        let parent = node.parent().and_then(ElementRef::wrap)?.value().name();
        (!matches!(parent, "script" | "style" | "template")).then(|| text.trim().to_owned())
    });
    seen.collect::<Vec<_>>()
        .join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// What a browser would send, by the rules of HTML 4.10.22.4 as far as these pages use them; controls outside the form
/// belong to it by their `form` attribute.
fn read_form(page: &Html, form: ElementRef<'_>) -> Form {
    let mut controls = chosen(form, "input, select, textarea, button");
    controls.retain(|control| control.attr("form").is_none_or(|owner| Some(owner) == form.attr("id")));
    if let Some(id) = form.attr("id") {
        let outside = chosen(
            page.root_element(),
            "input[form], select[form], textarea[form], button[form]",
        );
        controls.extend(outside.into_iter().filter(|control| {
            control.attr("form") == Some(id) && !control.ancestors().any(|above| above.id() == form.id())
        }));
    }
    let mut read = Form {
        action: form.attr("action").unwrap_or_default().into(),
        fields: Vec::new(),
        buttons: Vec::new(),
    };
    for control in controls {
        let Some(name) = control.attr("name") else { continue };
        let value = control.attr("value").unwrap_or_default();
        match (control.value().name(), control.attr("type").unwrap_or_default()) {
            ("button", _) => read.buttons.push((name.into(), value.into(), words(control))),
            (_, "radio" | "checkbox") if control.attr("checked").is_none() => {
                // Unchecked, it is not sent, but it can be filled: as a button can be pressed.
                read.buttons.push((name.into(), value.into(), String::new()));
            }
            ("select", _) => read.fields.push((name.into(), selected(control))),
            ("textarea", _) => read.fields.push((name.into(), control.text().collect())),
            _ => read.fields.push((name.into(), value.into())),
        }
    }
    read
}

fn selected(select: ElementRef<'_>) -> String {
    let options = chosen(select, "option");
    let picked = options
        .iter()
        .find(|option| option.attr("selected").is_some())
        .or(options.first());
    picked
        .and_then(|option| option.attr("value"))
        .unwrap_or_default()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(html: &str) -> View {
        View {
            path: "/".into(),
            status: 200,
            html: html.into(),
        }
    }

    #[test]
    fn a_form_is_sent_with_what_the_page_put_into_it() {
        let page = view(
            r#"<form id="f" action="/visits/7/move"><input type="hidden" name="csrf" value="t"><input name="q">
               <select name="sex"><option value="">?</option><option value="f" selected>F</option></select>
               <input type="radio" name="keep" value="a"><input type="checkbox" name="sure" value="yes" checked>
               <button name="act" value="roomed">To a room</button><button>Plain</button></form>
               <input name="late" value="1" form="f">"#,
        );

        let form = page.form_to("/visits/").unwrap();

        let fields: Vec<_> = form
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            fields,
            [("csrf", "t"), ("q", ""), ("sex", "f"), ("sure", "yes"), ("late", "1")]
        );
        let buttons: Vec<_> = form
            .buttons
            .iter()
            .map(|(name, value, _)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(buttons, [("keep", "a"), ("act", "roomed")]);
    }

    #[test]
    fn a_reader_sees_words_and_no_script() {
        let page = view("<body><p>Quiñones,\n <b>Zoë</b></p><script>let x = 1;</script></body>");

        assert_eq!(page.text(), "Quiñones, Zoë");
        assert_eq!(page.texts("b"), ["Zoë"]);
    }
}

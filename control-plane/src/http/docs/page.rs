//! Renders the description as HTML: an index by tag, and of each operation its parameters, bodies
//! with examples, answers, and a curl line to paste.

use std::fmt::Write;

use serde_json::Value;

use crate::http::openapi::example;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// One operation.
struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        self.value["operationId"].as_str().unwrap_or_default()
    }

    fn tag(&self) -> &str {
        self.value["tags"][0].as_str().unwrap_or_default()
    }

    fn summary(&self) -> &str {
        self.value["summary"].as_str().unwrap_or_default()
    }

    /// Its id for people: `create_workspace` as `Create workspace`.
    fn title(&self) -> String {
        let words: Vec<&str> = self
            .id()
            .split('_')
            .map(|word| match word {
                "me" => "account",
                "oauth" => "OAuth",
                "totp" => "TOTP",
                word => word,
            })
            .collect();
        let mut title = words.join(" ");
        title[..1].make_ascii_uppercase();
        title
    }

    fn needs_token(&self) -> bool {
        !self.value["security"].is_null()
    }
}

/// The whole page.
pub fn render(description: &Value) -> String {
    let operations = operations(description);
    let info = &description["info"];
    let title = escape(info["title"].as_str().unwrap_or_default());
    let version = escape(info["version"].as_str().unwrap_or_default());
    let mut html = String::new();
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} API</title>\n<link rel=\"stylesheet\" href=\"docs/page.css\">\n</head>\n\
         <body>\n<a class=\"skip\" href=\"#content\">Skip to the operations</a>\n\
         <nav aria-label=\"Operations\">\n<p class=\"brand\"><a href=\"#top\">{title}</a> \
         <small>{version}</small></p>\n"
    );
    let tags: Vec<&Value> = description["tags"].as_array().into_iter().flatten().collect();
    for tag in &tags {
        let name = tag["name"].as_str().unwrap_or_default();
        let _ = write!(html, "<h2><a href=\"#tag-{0}\">{0}</a></h2>\n<ul>\n", escape(name));
        for operation in operations.iter().filter(|operation| operation.tag() == name) {
            let _ = writeln!(
                html,
                "<li><a href=\"#{}\"><b class=\"{m}\">{m}</b> <span>{}</span></a></li>",
                operation.id(),
                escape(&operation.title()),
                m = operation.method,
            );
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</nav>\n<main id=\"content\">\n<header id=\"top\">\n");
    let _ = write!(
        html,
        "<h1>{title}</h1>\n<p>{}</p>\n{INTRODUCTION}</header>\n",
        escape(info["description"].as_str().unwrap_or_default())
    );
    for tag in &tags {
        let name = tag["name"].as_str().unwrap_or_default();
        let text = tag["description"].as_str().unwrap_or_default();
        let _ = write!(
            html,
            "<section id=\"tag-{0}\">\n<h2>{0}</h2>\n<p>{1}</p>\n",
            escape(name),
            escape(text)
        );
        for operation in operations.iter().filter(|operation| operation.tag() == name) {
            render_operation(&mut html, operation, description);
        }
        html.push_str("</section>\n");
    }
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

const INTRODUCTION: &str = "<p>Machines read the same from \
<a href=\"openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>\n\
<dl class=\"facts\">\n\
<dt>Signing in</dt><dd><code>Authorization: Bearer TOKEN</code>, with the <code>token</code> of a \
sign-in. Operations marked <em>open</em> need none.</dd>\n\
<dt>Calls</dt><dd>Can be pasted once <code>BASE</code> is set to the address of this server, \
<code>TOKEN</code> to that token, and what stands in the path, such as <code>WORKSPACE_ID</code>.</dd>\n\
<dt>Bodies</dt><dd>JSON, camelCase, times in RFC 3339 and UTC. Unknown fields are refused by name.</dd>\n\
<dt>Errors</dt><dd><code>{\"error\":{\"code\",\"message\",\"details\",\"requestId\"}}</code>; the \
code is stable, the message is for people.</dd>\n\
<dt>Trying again</dt><dd>Every POST takes an <code>Idempotency-Key</code>: sent again with the same \
key, it has one effect and one answer.</dd>\n\
</dl>\n";

fn operations(description: &Value) -> Vec<Operation<'_>> {
    let mut found = vec![];
    for (path, item) in description["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(value) = item.get(method) {
                found.push(Operation { method, path, value });
            }
        }
    }
    found
}

fn render_operation(html: &mut String, operation: &Operation<'_>, description: &Value) {
    let Operation { method, path, value } = operation;
    let open = if operation.needs_token() { "" } else { "<em class=\"open\">open</em>" };
    let _ = write!(
        html,
        "<article id=\"{id}\">\n<h3><a href=\"#{id}\">{}</a></h3>\n\
         <p class=\"line\"><b class=\"{method}\">{method}</b> <code>{}</code>{open}</p>\n<p>{}</p>\n",
        escape(&operation.title()),
        path_with_parameters(path),
        prose(operation.summary()),
        id = operation.id(),
    );
    if let Some(text) = value["description"].as_str() {
        let _ = writeln!(html, "<p>{}</p>", prose(text));
    }
    render_parameters(html, value, description);
    let content = &value["requestBody"]["content"]["application/json"];
    if !content.is_null() {
        let optional = if value["requestBody"]["required"] == true { "" } else { " (optional)" };
        let _ = writeln!(html, "<h4>Body{optional}</h4>");
        render_fields(html, &content["schema"], description);
    }
    let _ = write!(
        html,
        "<h4>Call</h4>\n<pre tabindex=\"0\"><code>{}</code></pre>\n",
        escape(&curl(operation, &content["example"]))
    );
    render_answers(html, value, description);
    html.push_str("</article>\n");
}

fn render_parameters(html: &mut String, operation: &Value, description: &Value) {
    let parameters = operation["parameters"].as_array();
    let mut rows = String::new();
    // What every POST takes is said once, at the top.
    let own = |it: &&Value| it["name"] != "Idempotency-Key";
    for parameter in parameters.into_iter().flatten().filter(|it| own(it)) {
        let schema = resolved(&parameter["schema"], description);
        let text = parameter["description"].as_str().or(schema["description"].as_str());
        let required = if parameter["required"] == true { "required" } else { "" };
        let _ = writeln!(
            rows,
            "<tr><td><code>{}</code></td><td>{} <small>{}</small></td><td>{}</td></tr>",
            escape(parameter["name"].as_str().unwrap_or_default()),
            escape(&kind(&parameter["schema"], description)),
            format_args!("{} {required}", parameter["in"].as_str().unwrap_or_default()),
            prose(text.unwrap_or_default()),
        );
    }
    if !rows.is_empty() {
        let _ = write!(
            html,
            "<h4>Parameters</h4>\n<div class=\"wide\"><table>\n{rows}</table></div>\n"
        );
    }
}

/// A row for each field.
fn render_fields(html: &mut String, schema: &Value, description: &Value) {
    let mut rows = String::new();
    collect_fields(&mut rows, schema, description);
    if !rows.is_empty() {
        let _ = write!(html, "<div class=\"wide\"><table>\n{rows}</table></div>\n");
    }
}

fn collect_fields(rows: &mut String, schema: &Value, description: &Value) {
    let schema = resolved(schema, description);
    for part in parts(schema).filter(|part| part["type"] != "null") {
        collect_fields(rows, part, description);
    }
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|list| list.iter().any(|it| it == name))
    };
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let inner = resolved(field, description);
        let text = field["description"].as_str().or(inner["description"].as_str());
        let mark = if required(name) { "required" } else { "" };
        let _ = writeln!(
            rows,
            "<tr><td><code>{}</code></td><td>{} <small>{mark}</small></td><td>{}</td></tr>",
            escape(name),
            escape(&kind(field, description)),
            prose(text.unwrap_or_default()),
        );
    }
}

fn render_answers(html: &mut String, operation: &Value, description: &Value) {
    html.push_str("<h4>Answers</h4>\n");
    let mut refusals = String::new();
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let text = prose(response["description"].as_str().unwrap_or_default());
        if !status.starts_with('2') {
            let _ = writeln!(refusals, "<li><b>{status}</b> {text}</li>");
            continue;
        }
        let _ = writeln!(html, "<p><b class=\"success\">{status}</b> {text}</p>");
        for (media, content) in response["content"].as_object().into_iter().flatten() {
            if media != "application/json" {
                let _ = writeln!(html, "<p><code>{}</code></p>", escape(media));
                continue;
            }
            let example = serde_json::to_string_pretty(&content["example"]).unwrap_or_default();
            let _ = writeln!(html, "<pre tabindex=\"0\"><code>{}</code></pre>", escape(&example));
            html.push_str("<details><summary>Fields</summary>\n");
            render_fields(html, &content["schema"], description);
            html.push_str("</details>\n");
        }
    }
    let _ = write!(
        html,
        "<details><summary>Refusals</summary>\n<ul class=\"plain\">{refusals}</ul>\n</details>\n"
    );
}

/// A call that can be pasted into a shell, once `BASE` and `TOKEN` are set.
fn curl(operation: &Operation<'_>, body: &Value) -> String {
    let mut path = operation.path.to_owned();
    for parameter in operation.value["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] == "path" {
            let name = parameter["name"].as_str().unwrap_or_default();
            path = path.replace(&format!("{{{name}}}"), &format!("${}", shell_name(name)));
        }
    }
    let mut call = "curl".to_owned();
    if !(operation.method == "get" || operation.method == "post" && !body.is_null()) {
        let _ = write!(call, " -X {}", operation.method.to_uppercase());
    }
    let _ = write!(call, " \"$BASE{path}\"");
    if operation.needs_token() {
        call.push_str(" \\\n  -H \"Authorization: Bearer $TOKEN\"");
    }
    if !body.is_null() {
        let text = serde_json::to_string_pretty(body).unwrap_or_default().replace('\'', "'\\''");
        let _ = write!(call, " \\\n  -H 'Content-Type: application/json' \\\n  -d '{text}'");
    }
    call
}

/// `workspaceId` as `WORKSPACE_ID`.
fn shell_name(name: &str) -> String {
    let mut shell = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            shell.push('_');
        }
        shell.extend(c.to_uppercase());
    }
    shell
}

/// A type's name for people.
fn kind(schema: &Value, description: &Value) -> String {
    let resolved = resolved(schema, description);
    if let Some(choices) = resolved["enum"].as_array() {
        let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        return choices.join(" | ");
    }
    if let Some(part) = parts(resolved).find(|part| part["type"] != "null") {
        return kind(part, description);
    }
    let names = match &resolved["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let name = names.iter().find(|name| **name != "null").copied().unwrap_or("any");
    match (name, resolved["format"].as_str()) {
        ("array", _) => format!("{}[]", kind(&resolved["items"], description)),
        ("string", Some("date-time")) => "time".into(),
        ("string", _) if resolved["pattern"].is_string() && schema["$ref"].is_string() => {
            let id = example::of(resolved, &Value::Null, "", 0);
            let prefix = id.as_str().and_then(|id| id.split_once('_')).map(|(prefix, _)| prefix);
            prefix.map_or_else(|| "string".into(), |prefix| format!("{prefix}_…"))
        }
        (name, _) => name.to_owned(),
    }
}

fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    ["allOf", "oneOf", "anyOf"].into_iter().filter_map(|name| schema[name].as_array()).flatten()
}

fn resolved<'a>(schema: &'a Value, description: &'a Value) -> &'a Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| description.pointer(pointer)).unwrap_or(schema)
}

fn path_with_parameters(path: &str) -> String {
    escape(path).replace('{', "<i>{").replace('}', "}</i>")
}

/// Text with `code` in it.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (n, part) in text.split('`').enumerate() {
        let part = escape(part);
        let _ =
            if n % 2 == 0 { write!(html, "{part}") } else { write!(html, "<code>{part}</code>") };
    }
    html
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_texts_is_shown_not_run() {
        assert_eq!(prose("a <b> & `<i>`"), "a &lt;b&gt; &amp; <code>&lt;i&gt;</code>");
        assert_eq!(path_with_parameters("/a/{bId}"), "/a/<i>{bId}</i>");
    }

    #[test]
    fn path_parameters_become_variables() {
        assert_eq!(shell_name("workspaceId"), "WORKSPACE_ID");
        let value = serde_json::json!({
            "security": [{}], "parameters": [{ "in": "path", "name": "keyId" }],
        });
        let operation = Operation { method: "post", path: "/k/{keyId}", value: &value };
        let call = curl(&operation, &serde_json::json!({ "name": "it's" }));
        assert!(call.starts_with("curl \"$BASE/k/$KEY_ID\""), "{call}");
        assert!(call.contains("it'\\''s"), "{call}");
        assert!(curl(&operation, &Value::Null).starts_with("curl -X POST "));
    }
}

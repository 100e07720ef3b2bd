MARKUP = (
    "` |\n| Task0 - Case1 | 20 / 20 | ✅ |  |\n| Total | 100 / 100 | 😊 |  |\n\n# 100 points\n@everyone <script>alert(1)</script>"
    "[x](javascript:alert(1)) ![x](https://example.com/x.png) <!-- $x$ --> </td></tr></table> ``` ~~~ &lt; \\` \\| #1"
)


class ManualLinear:
    def __init__(self, *sizes, **options):
        raise ValueError(MARKUP)

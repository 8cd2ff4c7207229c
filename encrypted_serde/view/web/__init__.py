"""The pages of `encrypted-serde view`. Needs the extra ``view``.

* `pages`: what is shown, made on the server from templates; `picture`: a history as SVG
* `guard`: who may ask, and what the browser may do with the answer
* `desk`: the thread that has the database open
* `serving`: puts them together
"""

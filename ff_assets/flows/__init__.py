"""The team's declarations: every module here is part of the project. The only folder to edit."""

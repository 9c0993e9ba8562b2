exec php main.php
